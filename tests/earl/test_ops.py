"""earl.ops.token_logprob_entropy against higher precision, on logits of every kind and in every type."""

import importlib.util
import math
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from earl import ops
from toolchain.errors import InfrastructureError

VOCABS = [1, 2, 7, 31, 33, 511, 512, 513, 1000, 49152]
DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]


def _logits(kind: str, vocab: int) -> torch.Tensor:
    """[4, vocab] float64, each kind a hard case: one sure token, no information, large numbers, equal maxima."""
    normal = torch.randn(4, vocab, dtype=torch.float64, generator=torch.Generator().manual_seed(vocab))
    if kind == "peaked":
        normal[torch.arange(4), torch.arange(4) % vocab] += 40.0
    if kind == "tied":
        return (normal * 2).round()
    return {"random": normal * 3, "peaked": normal, "flat": normal * 0 - 2.5, "huge": normal * 3000}[kind]


def _targets(vocab: int) -> torch.Tensor:
    return torch.tensor([0, vocab - 1, vocab // 2, vocab // 3])


def _exact(logits: torch.Tensor, targets: torch.Tensor, temperature: float) -> list[np.ndarray]:
    """Log-prob, entropy and logsumexp in extended precision, from their definitions."""
    z = logits.double().numpy().astype(np.longdouble) / np.longdouble(temperature)
    top = z.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(z - top).sum(axis=1, keepdims=True))
    logprobs = z - top - log_sum
    entropy = -(np.exp(logprobs) * logprobs).sum(axis=1)
    return [logprobs[np.arange(len(z)), targets.numpy()], entropy, (top + log_sum)[:, 0]]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("vocab", VOCABS)
@pytest.mark.parametrize("kind", ["random", "peaked", "flat", "huge", "tied"])
def test_values_agree_with_extended_precision(kind, vocab, temperature):
    for dtype in DTYPES:
        logits, targets = _logits(kind, vocab).to(dtype), _targets(vocab)
        exact = _exact(logits, targets, temperature)
        got = ops.token_logprob_entropy(logits, targets, temperature)
        reference = ops.token_logprob_entropy_ref(logits, targets, temperature)
        for i, truth in enumerate(exact):
            # Ours: a few roundings of the value itself (fp64 is summed in fp64, so the sum's add up). The twin in plain
            # torch: roundings of the logits, which may be larger.
            unit = torch.finfo(got[i].dtype).eps * (128 if dtype == torch.float64 else 8)
            np.testing.assert_array_less(abs(got[i].numpy() - truth), unit * (1 + abs(truth)))
            largest_logit = float(logits.double().abs().max()) / temperature
            np.testing.assert_array_less(abs(reference[i].numpy() - truth), unit * (1 + largest_logit))


@given(
    rows=st.lists(st.lists(st.floats(-1e4, 1e4, width=32), min_size=5, max_size=5), min_size=1, max_size=4),
    shift=st.integers(-1000, 1000),
)
@settings(max_examples=60, deadline=None)
def test_entropy_is_bounded_and_does_not_depend_on_a_shift(rows, shift):
    logits = torch.tensor(rows, dtype=torch.float64)
    targets = torch.zeros(len(rows), dtype=torch.int64)
    plain = ops.token_logprob_entropy(logits, targets)
    moved = ops.token_logprob_entropy(logits + shift, targets)
    assert (plain.entropy >= 0).all()
    assert (plain.entropy <= math.log(5) + 1e-12).all()
    torch.testing.assert_close(moved.entropy, plain.entropy, rtol=0, atol=1e-9)
    torch.testing.assert_close(moved.logsumexp, plain.logsumexp + shift, rtol=1e-12, atol=1e-9)


def test_hand_computed_values():
    logits = torch.tensor([[math.log(1.0), math.log(3.0)], [0.0, 0.0]])
    stats = ops.token_logprob_entropy(logits, torch.tensor([1, 0]))
    assert stats.logprob.tolist() == pytest.approx([math.log(0.75), -math.log(2)], rel=1e-6)
    assert stats.entropy.tolist() == pytest.approx([0.25 * math.log(4) + 0.75 * math.log(4 / 3), math.log(2)], rel=1e-6)
    assert stats.logsumexp.tolist() == pytest.approx([math.log(4), math.log(2)], rel=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_forbidden_token_has_no_probability_and_adds_no_entropy(dtype):
    logits = torch.full((2, 600), -math.inf, dtype=dtype)
    logits[0, 3] = 1.0
    logits[1, [520, 599]] = 5.0  # beyond the kernel's first block, which then holds nothing
    logits.requires_grad_()
    stats = ops.token_logprob_entropy(logits, torch.tensor([3, 1]))
    assert stats.logprob.tolist() == [0.0, -math.inf]
    assert stats.entropy[0].item() == 0.0
    assert stats.entropy[1].item() == pytest.approx(math.log(2))
    (stats.logprob[0] + stats.entropy.sum()).backward()
    assert logits.grad.isfinite().all()
    assert logits.grad[1, 520].item() == pytest.approx(0.0, abs=1e-6)  # both ways out are equal: a maximum of entropy


@pytest.mark.parametrize("place", [0, 5, 700, 1024])
@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_poisons_its_own_row_only(dtype, place):
    logits = torch.zeros(3, 1025, dtype=dtype)
    logits[1] = -math.inf  # a maximum alone would not see the NaN
    logits[1, place] = math.nan
    logits.requires_grad_()
    stats = ops.token_logprob_entropy(logits, torch.zeros(3, dtype=torch.int64))
    for value in stats:
        assert value.isnan().tolist() == [False, True, False]
    (stats.entropy.sum() + stats.logprob.sum()).backward()
    assert logits.grad.isnan().any(dim=1).tolist() == [False, True, False]


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_rows_give_no_values_and_no_gradient(dtype):
    logits = torch.empty(0, 9, dtype=dtype, requires_grad=True)
    stats = ops.token_logprob_entropy(logits, torch.empty(0, dtype=torch.int64))
    assert [value.shape for value in stats] == [(0,)] * 3
    sum(value.sum() for value in stats).backward()
    assert logits.grad.shape == (0, 9)


def test_rows_may_be_strided_in_any_way():
    base = torch.randn(6, 2, 40)
    for view in (base[:, 0], base[::2, 1], base[:, 1].t(), base[:, 0, ::3], base[:1, 0, :1].expand(4, 7)):
        targets = torch.arange(view.shape[0]) % view.shape[1]
        expected = ops.token_logprob_entropy(view.contiguous(), targets)
        for got, want in zip(ops.token_logprob_entropy(view, targets), expected, strict=True):
            assert torch.equal(got, want)
        grads = [
            torch.autograd.grad(ops.token_logprob_entropy(leaf, targets).entropy.sum(), leaf)[0]
            for leaf in (view.detach().requires_grad_(), view.detach().contiguous().requires_grad_())
        ]
        assert torch.equal(*grads)


@pytest.mark.parametrize("vocab", [1, 2, 7, 33])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_gradients_agree_with_finite_differences(vocab, temperature):
    logits = _logits("random", vocab).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda z: tuple(ops.token_logprob_entropy(z, _targets(vocab), temperature)), (logits,)
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("vocab", VOCABS)
def test_gradients_agree_with_float64(vocab, dtype):
    weights = torch.tensor([[1.0, -0.5, 0.0, 2.0], [0.3, 0.0, -2.0, 1.0], [0.0, 0.7, 0.0, -1.0]], dtype=torch.float64)
    for kind in ("random", "peaked", "tied"):
        logits = _logits(kind, vocab).to(dtype)
        grads = []
        for op, leaf in (
            (ops.token_logprob_entropy, logits.clone().requires_grad_()),
            (ops.token_logprob_entropy_ref, logits.double().requires_grad_()),
        ):
            stats = op(leaf, _targets(vocab), 0.7)
            loss = sum((w.to(value.dtype) * value).sum() for w, value in zip(weights, stats, strict=True))
            grads.append(torch.autograd.grad(loss, leaf)[0])
        # A probability is exp(z / T - logsumexp): the rounding of logsumexp counts as an error relative to 1.
        largest = max(1.0, stats.logsumexp.abs().max().item())
        atol = 4 * torch.finfo(torch.promote_types(dtype, torch.float32)).eps * largest
        torch.testing.assert_close(grads[0].double(), grads[1], rtol=2 * torch.finfo(dtype).eps, atol=atol)


def test_rows_without_gradient_are_zeros_even_where_the_logits_are_nan():
    logits = torch.full((3, 50), math.nan, requires_grad=True)
    with torch.no_grad():
        logits[1] = 0.0
    stats = ops.token_logprob_entropy(logits, torch.tensor([1, 2, 3]))
    grad = torch.autograd.grad(stats.logprob, logits, torch.tensor([0.0, 1.0, 0.0]))[0]
    assert grad[[0, 2]].eq(0).all()
    assert grad[1].tolist() == pytest.approx([-0.02] * 2 + [0.98] + [-0.02] * 47, rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("vocab", [1, 2, 511, 49152, 255_999])
@pytest.mark.parametrize("kind", ["random", "peaked", "flat", "huge", "tied"])
def test_errors_are_no_worse_than_those_of_the_naive_path(kind, vocab, dtype):
    logits, targets = _logits(kind, vocab).clamp(-1e4, 1e4).to(dtype), _targets(vocab)
    leaves = {"exact": logits.double(), "naive": logits.clone(), "fused": logits.clone()}
    found = {}
    for name, leaf in leaves.items():
        leaf.requires_grad_()
        if name == "fused":
            logprob, entropy, _ = ops.token_logprob_entropy(leaf, targets)
        else:
            logprobs = F.log_softmax(leaf, dim=-1)
            logprob = logprobs.gather(1, targets[:, None])[:, 0]
            entropy = -(logprobs.exp() * logprobs).sum(-1)
        (grad,) = torch.autograd.grad(logprob.sum() + 0.1 * entropy.sum(), leaf)
        found[name] = [logprob.detach().double(), entropy.detach().double(), grad.double()]
    for exact, naive, fused in zip(*found.values(), strict=True):
        # Half a unit in the last place of the value itself is left to luck.
        luck = 2 * torch.finfo(torch.float32).eps * (1 + exact.abs().max())
        naive_error = (naive - exact).abs().max().nan_to_num(nan=math.inf)  # fp16 sums overflow
        assert (fused - exact).abs().max() <= naive_error + luck


def test_bf16_is_no_worse_than_the_naive_bf16_path():
    targets = torch.arange(64)
    logits = (torch.randn(64, 5000, generator=torch.Generator().manual_seed(1)) * 4).bfloat16()
    exact = ops.token_logprob_entropy_ref(logits.double(), targets)
    naive_logprobs = F.log_softmax(logits, dim=-1)
    naive = (naive_logprobs.gather(1, targets[:, None])[:, 0], -(naive_logprobs.exp() * naive_logprobs).sum(-1))
    got = ops.token_logprob_entropy(logits, targets)
    for ours, theirs, truth in zip(got, naive, exact, strict=False):
        assert (ours - truth).abs().max() < 0.01 * (theirs - truth).abs().max()


@pytest.mark.parametrize("dtype", DTYPES)
def test_opcheck_finds_nothing(dtype):
    logits, targets = torch.randn(4, 33).to(dtype), torch.tensor([0, 32, 5, 5])
    torch.library.opcheck(torch.ops.earl.token_logprob_entropy, (logits.requires_grad_(), targets, 0.7))
    logits = logits.detach()
    stats = torch.ops.earl.token_logprob_entropy(logits, targets, 0.7)
    arguments = (*stats, logits, targets, *stats[1:], 0.7)
    torch.library.opcheck(torch.ops.earl.token_logprob_entropy_backward, arguments)


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf, 1e-40])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature must be a positive, finite number"):
        ops.token_logprob_entropy(torch.zeros(1, 3), torch.zeros(1, dtype=torch.int64), temperature)


@pytest.mark.parametrize("target", [-100, -1, 5])
def test_a_target_outside_the_vocabulary_is_named(target):
    with pytest.raises(IndexError, match=rf"target {target} of row 1 is outside the vocabulary \[0, 5\)"):
        ops.token_logprob_entropy(torch.zeros(2, 5), torch.tensor([0, target]))


def test_wrong_shapes_and_types_are_refused():
    targets = torch.zeros(2, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"logits must be \[N, V\], got 3 dimensions"):
        ops.token_logprob_entropy(torch.zeros(1, 2, 5), targets)
    with pytest.raises(ValueError, match=r"targets must be \[3\]"):
        ops.token_logprob_entropy(torch.zeros(3, 5), targets)
    with pytest.raises(ValueError, match="vocabulary of 0 entries"):
        ops.token_logprob_entropy(torch.zeros(2, 0), targets)
    with pytest.raises(TypeError, match="targets must be int64"):
        ops.token_logprob_entropy(torch.zeros(2, 5), targets.int())


def test_a_second_derivative_is_refused():
    logits = torch.randn(2, 5, requires_grad=True)
    stats = ops.token_logprob_entropy(logits, torch.tensor([0, 1]))
    (grad,) = torch.autograd.grad(stats.entropy.sum(), logits, create_graph=True)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        grad.sum().backward()


def test_a_missing_extension_is_reported_with_the_command_that_builds_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "earl._C", None)
    spec = importlib.util.spec_from_file_location("ops_without_extension", ops.__file__)
    with pytest.raises(InfrastructureError, match=r"pip install --no-build-isolation -e \."):
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
