"""What the compiled ops promise below the Python surface: instruction sets, exp, threads."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from earl import ops

# Run by a child process, because torch reads ATEN_CPU_CAPABILITY once. Prints errors in units of the type's epsilon.
MEASURE = """
import json, torch
from earl import ops
worst = {}
for dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16):
    for vocab in (1, 7, 33, 513, 5000):
        logits = (torch.randn(4, vocab, generator=torch.Generator().manual_seed(vocab)) * 3).to(dtype)
        targets = torch.arange(4) % vocab
        leaf, exact_leaf = logits.clone().requires_grad_(), logits.double().requires_grad_()
        got = ops.token_logprob_entropy(leaf, targets, 0.7)
        exact = ops.token_logprob_entropy_ref(exact_leaf, targets, 0.7)
        grad = torch.autograd.grad(got.logprob.sum() + got.entropy.sum(), leaf)[0]
        exact_grad = torch.autograd.grad(exact.logprob.sum() + exact.entropy.sum(), exact_leaf)[0]
        pairs = [*zip(got, exact), (grad, exact_grad)]
        for value, truth in pairs:
            error = ((value - truth).abs() / (1 + truth.abs())).max().item() / torch.finfo(value.dtype).eps
            worst[str(dtype)] = max(worst.get(str(dtype), 0.0), error)
print(json.dumps({"capability": torch.backends.cpu.get_cpu_capability(), "worst": worst}))
"""


@pytest.mark.parametrize("capability", ["default", "avx2"])
def test_lower_instruction_sets_are_as_accurate(capability):
    available = torch.backends.cpu.get_cpu_capability()
    if capability == "avx2" and available not in ("AVX2", "AVX512"):
        pytest.skip(f"this CPU's torch capability is {available}")
    run = subprocess.run(
        [sys.executable, "-c", MEASURE],
        env={**os.environ, "ATEN_CPU_CAPABILITY": capability},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    measured = json.loads(run.stdout)
    assert measured["capability"] == capability.upper()
    assert len(measured["worst"]) == 4
    for dtype, error in measured["worst"].items():
        assert error < 16, dtype


def _exp2_of(exponents: torch.Tensor) -> torch.Tensor:
    """2^t of one row of t <= 0: what the backward op gives for a logsumexp of 0 and its gradient T = 1 / ln 2."""
    one, zero = torch.full((1,), 1 / math.log(2)), torch.zeros(1)
    target = torch.tensor([len(exponents)])  # an entry of its own: the C library computes it
    padded = torch.cat([exponents, torch.zeros(1)])[None]
    op = torch.ops.earl.token_logprob_entropy_backward
    return op(zero, zero, one.double(), padded, target, zero, zero.double(), 1 / math.log(2))[0, :-1]


def test_exp2_is_within_two_units_in_the_last_place():
    t = torch.linspace(-126.0, 0.0, 1_000_003)
    error = (_exp2_of(t).double() / t.double().exp2() - 1).abs().max().item()
    assert error < 2**-22  # one of them is the rounding of T, of its inverse and of their product


def test_exp2_is_zero_below_the_smallest_normal_number_and_one_at_zero():
    got = _exp2_of(torch.tensor([-126.6, -127.0, -1000.0, -1e30, -torch.inf, 0.0])).tolist()
    assert got == [0.0] * 5 + [pytest.approx(1.0, rel=2**-22)]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_every_16_bit_number_is_widened_exactly(dtype):
    every = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    finite = every[every.isfinite()]
    targets = torch.zeros(len(finite), dtype=torch.int64)
    assert torch.equal(ops.token_logprob_entropy(finite[:, None], targets).logsumexp, finite.float())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_gradients_are_rounded_to_nearest_even_as_torch_does(dtype):
    # With one token and a gradient of logsumexp only, the gradient passes through unchanged but for the rounding.
    grad = torch.randn(20_000, generator=torch.Generator().manual_seed(0)) * torch.logspace(-12, 4, 20_000)
    logits, targets, zero = torch.zeros(20_000, 2, dtype=dtype), torch.ones(20_000, dtype=torch.int64), grad * 0
    op = torch.ops.earl.token_logprob_entropy_backward
    assert torch.equal(op(zero, zero, grad.double(), logits, targets, zero, zero.double(), 1.0)[:, 0], grad.to(dtype))


def test_the_result_does_not_depend_on_the_number_of_threads():
    logits, targets = torch.randn(64, 3001), torch.arange(64)
    num_threads = torch.get_num_threads()
    try:
        results = []
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            results.append(torch.stack(ops.token_logprob_entropy(logits, targets)))
    finally:
        torch.set_num_threads(num_threads)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="needs /proc to list the loaded libraries")
def test_no_second_openmp_runtime_is_loaded_by_the_extension():
    code = (
        "import torch; before = open('/proc/self/maps').read(); import earl._C;"
        "after = open('/proc/self/maps').read();"
        "names = lambda maps: {l.split()[-1] for l in maps.splitlines() if 'omp' in l.split()[-1].rsplit('/', 1)[-1]};"
        "print(sorted(names(after) - names(before)), len(names(before)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert run.stdout.split() == ["[]", "1"]
