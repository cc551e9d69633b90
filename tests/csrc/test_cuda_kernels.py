"""The CUDA ops run on the CPU, every thread of every block, against float64 on shapes that leave heads and tails.

What this proves: index arithmetic, tails, reductions, the host code's tiles and strides. What it cannot: speed, and
what a GPU's own arithmetic, memory model and cuBLAS do.
"""

import math

import pytest
import torch
import torch.nn.functional as F

from earl import ops
from earl.config import LossConfig

DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16]
VOCABS = [1, 2, 7, 33, 255, 257, 2049, 8193]


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _logits(kind: str, vocab: int) -> torch.Tensor:
    normal = torch.randn(3, vocab, dtype=torch.float64, generator=_generator(vocab))
    if kind == "peaked":
        normal[torch.arange(3), torch.arange(3) % vocab] += 40.0
    if kind == "tied":
        return (normal * 2).round()
    return {"random": normal * 3, "peaked": normal, "flat": normal * 0 - 2.5, "huge": normal * 3000}[kind]


def _targets(vocab: int) -> torch.Tensor:
    return torch.tensor([0, vocab - 1, vocab // 2])


def _error(got: torch.Tensor, truth: torch.Tensor, dtype: torch.dtype) -> float:
    """The largest error, in units of the epsilon of `dtype`, relative to 1 + |truth|."""
    assert got.shape == truth.shape
    return float(((got.detach().double() - truth).abs() / (1 + truth.abs())).max() / torch.finfo(dtype).eps)


def _stack(stats) -> torch.Tensor:
    return torch.stack([value.double() for value in stats])


@pytest.mark.parametrize("vocab", VOCABS)
@pytest.mark.parametrize("kind", ["random", "peaked", "flat", "huge", "tied"])
def test_statistics_and_gradients_of_given_logits_agree_with_float64(on_cpu, kind, vocab):
    targets, temperature = _targets(vocab), {"random": 0.5, "tied": 2.0}.get(kind, 1.0)
    row_grads = torch.randn(3, 3, dtype=torch.float64, generator=_generator(1))
    for dtype in DTYPES:
        logits = _logits(kind, vocab).to(dtype)
        leaf = logits.double().requires_grad_()
        exact = ops.token_logprob_entropy_ref(leaf, targets, temperature)
        (truth,) = torch.autograd.grad(exact, leaf, grad_outputs=list(row_grads))
        stats = on_cpu.token_logprob_entropy(logits, targets, temperature)
        for value, true_value in zip(stats, exact, strict=True):
            assert _error(value, true_value.detach(), stats[0].dtype) < (2000 if dtype == torch.float64 else 16), dtype
        grads = [grad.to(value.dtype) for grad, value in zip(row_grads, stats, strict=True)]
        got = on_cpu.token_logprob_entropy_backward(*grads, logits, targets, *stats[1:], temperature)
        assert got.dtype == dtype
        assert _error(got, truth, dtype) < (2000 if dtype == torch.float64 else 16), dtype


def test_rows_need_not_be_aligned_or_next_to_each_other(on_cpu):
    storage = torch.randn(4 * 613, generator=_generator())
    for offset in range(5):
        for dtype in (torch.float32, torch.bfloat16):
            logits = storage.to(dtype)[offset : offset + 3 * 603].as_strided((3, 587), (603, 1), offset)
            targets = torch.tensor([0, 586, 100])
            got = on_cpu.token_logprob_entropy(logits, targets, 1.0)
            dense = on_cpu.token_logprob_entropy(logits.contiguous(), targets, 1.0)
            grads = [*torch.randn(2, 3, generator=_generator(1)), torch.ones(3).double()]
            grad = on_cpu.token_logprob_entropy_backward(*grads, logits, targets, *got[1:], 1.0)
            dense_grad = on_cpu.token_logprob_entropy_backward(*grads, logits.contiguous(), targets, *got[1:], 1.0)
            torch.testing.assert_close(_stack(got), _stack(dense), rtol=1e-6, atol=1e-6)
            torch.testing.assert_close(grad, dense_grad)
    transposed = storage[: 3 * 100].view(100, 3).t()
    got = on_cpu.token_logprob_entropy(transposed, torch.zeros(3, dtype=torch.int64), 1.0)
    exact = ops.token_logprob_entropy_ref(transposed.double(), torch.zeros(3, dtype=torch.int64))
    torch.testing.assert_close(_stack(got), torch.stack(exact), rtol=1e-6, atol=1e-6)


def test_one_row_is_cut_into_slices_and_many_rows_are_not(on_cpu):
    logits = torch.randn(1, 20_001, generator=_generator()) * 4
    target = torch.tensor([20_000])
    sliced = _stack(on_cpu.token_logprob_entropy(logits, target, 1.0))
    exact = torch.stack(ops.token_logprob_entropy_ref(logits.double(), target))
    torch.testing.assert_close(sliced, exact, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", DTYPES)
def test_forbidden_tokens_nan_and_empty_input(on_cpu, dtype):
    logits = torch.full((4, 8300), -math.inf, dtype=dtype)
    logits[0, 3] = 1.0
    logits[1, [520, 8299]] = 5.0  # in the first and in the last slice
    logits[2, 8201] = math.nan  # a maximum alone would not see it
    logits[3, 0] = math.inf
    stats = on_cpu.token_logprob_entropy(logits, torch.tensor([3, 1, 0, 0]), 1.0)
    logprob, entropy, logsumexp = (value.tolist() for value in stats)
    assert (logprob[0], logprob[1]) == (0.0, -math.inf)
    assert (entropy[0], entropy[1]) == (0.0, pytest.approx(math.log(2)))
    assert all(math.isnan(value) for value in (logprob[2], entropy[2], logsumexp[2], entropy[3]))
    ones = torch.ones_like(stats[0])
    grad = on_cpu.token_logprob_entropy_backward(
        torch.tensor([1, 0, 1, 0]).to(ones), ones, stats[2] * 0, logits, torch.tensor([3, 1, 0, 0]), *stats[1:], 1.0
    )
    assert grad[:2].isfinite().all()
    assert grad[2].isnan().any()
    none = on_cpu.token_logprob_entropy(logits[:0], torch.empty(0, dtype=torch.int64), 1.0)
    assert [value.shape for value in none] == [(0,)] * 3
    empty = torch.empty(0, dtype=stats[0].dtype)
    grad = on_cpu.token_logprob_entropy_backward(
        empty, empty, empty.double(), logits[:0], empty.long(), empty, empty.double(), 1.0
    )
    assert grad.shape == (0, 8300)


def test_a_row_without_gradient_is_not_read(on_cpu):
    logits = torch.randn(3, 301, generator=_generator())
    logits[1] = math.nan
    stats = on_cpu.token_logprob_entropy(logits, torch.zeros(3, dtype=torch.int64), 1.0)
    grad = torch.tensor([1.0, 0.0, 1.0])
    zero = torch.zeros(3)
    got = on_cpu.token_logprob_entropy_backward(
        grad, zero, zero.double(), logits, torch.zeros(3).long(), *stats[1:], 1.0
    )
    assert (got[1] == 0).all()
    assert (got[[0, 2]] != 0).any(dim=1).all()


@pytest.mark.parametrize("shape", [(5, 3, 1), (7, 19, 130), (33, 8, 517)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_head_in_tiles_agrees_with_float64(on_cpu, dtype, shape):
    num_rows, width, vocab = shape  # tiles are 128 columns wide in this build
    hidden = torch.randn(num_rows, width, dtype=torch.float64, generator=_generator()).to(dtype)
    weight = torch.randn(vocab, width, dtype=torch.float64, generator=_generator(1)).to(dtype)
    bias = torch.randn(vocab, dtype=torch.float64, generator=_generator(2)).to(dtype)
    targets = torch.randint(vocab, (num_rows,), generator=_generator(3))
    positions = torch.arange(0, num_rows, 2)
    grads = torch.randn(3, len(positions), dtype=torch.float64, generator=_generator(4))
    grads[:, 1] = 0  # a row that is asked for and has no gradient
    leaves = [value.double().requires_grad_() for value in (hidden, weight, bias)]
    exact = ops.token_logprob_entropy_ref(F.linear(*leaves)[positions], targets[positions], 0.7)
    truths = torch.autograd.grad(exact, leaves, grad_outputs=list(grads))
    stats = on_cpu.linear_token_logprob_entropy(hidden, weight, bias, targets, 0.7, positions, None)
    bound = 1e-12 if dtype == torch.float64 else 1e-5  # the products are summed and kept in fp32
    for value, truth in zip(stats, exact, strict=True):
        torch.testing.assert_close(value.double(), truth.detach(), rtol=bound, atol=bound)
    row_grads = [grad.to(value.dtype) for grad, value in zip(grads, stats, strict=True)]
    got = on_cpu.linear_token_logprob_entropy_backward(
        *row_grads, hidden, weight, bias, targets, *stats[1:], 0.7, positions, None, [True, True, True]
    )
    bound = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 3e-2}[dtype]
    for value, truth in zip(got, truths, strict=True):
        assert value.dtype == dtype
        torch.testing.assert_close(value.double(), truth, rtol=bound, atol=bound * (1 + float(truth.abs().max())))
    assert (got[0][1::2] == 0).all()


def test_a_frozen_head_gives_no_weight_gradient_and_masters_may_be_fp32(on_cpu):
    hidden, weight = torch.randn(6, 5, generator=_generator()), torch.randn(140, 5, generator=_generator(1))
    targets = torch.arange(6)
    stats = on_cpu.linear_token_logprob_entropy(hidden, weight, None, targets, 1.0, None, torch.bfloat16)
    rounded = [value.bfloat16().double() for value in (hidden, weight)]
    exact = ops.token_logprob_entropy_ref(F.linear(*rounded), targets)
    torch.testing.assert_close(_stack(stats), torch.stack(exact), rtol=1e-5, atol=1e-5)
    ones = torch.ones(6)
    got = on_cpu.linear_token_logprob_entropy_backward(
        ones,
        ones,
        ones.double(),
        hidden,
        weight,
        None,
        targets,
        *stats[1:],
        1.0,
        None,
        torch.bfloat16,
        [True, False, True],
    )
    assert [value.numel() for value in got] == [30, 0, 0]
    assert got[0].dtype == torch.float32


def test_no_rows_of_a_head_give_zero_gradients(on_cpu):
    hidden, weight = torch.randn(4, 5), torch.randn(140, 5)
    none = torch.empty(0, dtype=torch.int64)
    stats = on_cpu.linear_token_logprob_entropy(hidden, weight, None, torch.zeros(4).long(), 1.0, none, None)
    assert [value.shape for value in stats] == [(0,)] * 3
    empty = torch.empty(0)
    got = on_cpu.linear_token_logprob_entropy_backward(
        empty,
        empty,
        empty.double(),
        hidden,
        weight,
        None,
        torch.zeros(4).long(),
        empty,
        empty.double(),
        1.0,
        none,
        None,
        [True, True, False],
    )
    assert (got[0] == 0).all()
    assert (got[1] == 0).all()


def _gate_cases():
    generator = _generator(5)
    for lengths in ([0], [1], [5, 0, 300], [256, 257, 1000]):
        offsets = torch.tensor([0, *lengths]).cumsum(0)
        size = int(offsets[-1])
        plain = torch.rand(size, generator=generator)
        tied = (plain * 4).round() / 4
        hard = tied.clone()
        hard[::7] = -0.0
        hard[3::11] = math.inf
        for entropy in (plain, tied, hard):
            yield entropy, offsets, torch.rand(size, generator=generator) < 0.6


@pytest.mark.parametrize("fraction", [0.07, 0.2, 1.0])
def test_the_gate_is_the_exact_top_k_with_ties_to_the_earlier_token(on_cpu, fraction):
    for entropy, offsets, eligible in _gate_cases():
        for min_entropy in (0.0, 0.3):
            everything = torch.ones_like(eligible)
            for asked in (None, eligible):
                exact = ops.entropy_gate_ref(entropy, everything, asked, offsets, fraction, min_entropy)
                got = on_cpu.entropy_gate(entropy, everything, asked, offsets, fraction, min_entropy)
                assert torch.equal(got, exact)


def test_the_gate_counts_completion_tokens_and_refuses_nan(on_cpu):
    entropy = torch.tensor([9.0, 1.0, math.nan, 3.0, 2.0, 9.0])
    mask = torch.tensor([False, True, True, True, True, False])
    got = on_cpu.entropy_gate(entropy, mask, None, torch.tensor([0, 6]), 0.5, 0.0)
    assert got.tolist() == [False, False, False, True, False, False]  # two places; the NaN takes the first of them


@pytest.mark.parametrize("num_tokens", [0, 1, 255, 2500])
@pytest.mark.parametrize("dual_clip", [0.0, 3.0])
@pytest.mark.parametrize("has_reference", [False, True])
def test_the_surrogate_and_its_gradient_agree_with_autograd(on_cpu, num_tokens, dual_clip, has_reference):
    columns = torch.randn(6, num_tokens, dtype=torch.float64, generator=_generator(num_tokens))
    logprobs, sampling, advantages, reference, weights, kl_weights = columns
    tokens = [logprobs, sampling, advantages, reference if has_reference else None]
    weights = (weights.relu(), kl_weights.relu())
    config = LossConfig(clip_low=0.2, clip_high=0.28, dual_clip=dual_clip)
    leaf = logprobs.clone().requires_grad_()
    exact = ops.gated_surrogate_ref(leaf, *tokens[1:], weights, config)
    (exact_grad,) = torch.autograd.grad(exact.loss, leaf)
    for dtype, bound in ((torch.float64, 1e-12), (torch.float32, 1e-5)):
        given = [None if value is None else value.to(dtype) for value in (*tokens, *weights)]
        loss, grad, sums = on_cpu.gated_surrogate(*given, 0.2, 0.28, dual_clip)
        assert grad.dtype == dtype
        torch.testing.assert_close(loss, exact.loss.detach(), rtol=bound, atol=bound)
        torch.testing.assert_close(grad.double(), exact_grad, rtol=bound, atol=bound)
        torch.testing.assert_close(sums, exact.sums, rtol=bound, atol=bound)


@pytest.mark.parametrize("vocab", [1, 7, 257, 2049])
@pytest.mark.parametrize("kind", ["random", "peaked", "tied"])
def test_statistics_asked_for_by_name_agree_with_float64(on_cpu, kind, vocab):
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        logits = _logits(kind, vocab).to(dtype)
        exact = ops.token_statistics_ref(
            logits.double(), _targets(vocab), 0.8, names=list(ops.STATISTICS), top_p=0.83, min_p=0.031
        )
        got = on_cpu.token_statistics(logits, _targets(vocab), 0.8, list(exact), 0.83, 0.031)
        for value, (name, truth) in zip(got, exact.items(), strict=True):
            torch.testing.assert_close(
                value.double(), truth, rtol=1e-5, atol=2e-5, msg=lambda text, name=name: name + text
            )
    (entropy,) = on_cpu.token_statistics(logits, _targets(vocab), 0.8, ["entropy"], 1.0, 0.0)
    torch.testing.assert_close(entropy.double(), exact["entropy"], rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="unknown statistic entropi"):
        on_cpu.token_statistics(logits, _targets(vocab), 1.0, ["entropi"], 1.0, 0.0)


def test_the_order_in_which_threads_run_does_not_change_a_bit(on_cpu, set_reversed):
    logits = torch.randn(5, 1237, generator=_generator()).bfloat16()
    targets = torch.arange(5)
    entropy = (torch.rand(900, generator=_generator()) * 9).round()
    columns = torch.randn(6, 700, generator=_generator())

    def everything():
        stats = on_cpu.token_logprob_entropy(logits, targets, 1.0)
        ones = torch.ones(5)
        grad = on_cpu.token_logprob_entropy_backward(ones, ones, ones.double(), logits, targets, *stats[1:], 1.0)
        named = on_cpu.token_statistics(logits, targets, 1.0, ["top_p_entropy", "min_p_logprob"], 0.9, 0.1)
        kept = on_cpu.entropy_gate(entropy, entropy >= 0, None, torch.tensor([0, 600, 900]), 0.2, 0.0)
        return [*stats, grad, *named, kept, *on_cpu.gated_surrogate(*columns, 0.2, 0.28, 3.0)]

    forward = everything()
    set_reversed(True)
    try:
        backward = everything()
    finally:
        set_reversed(False)
    for one, other in zip(forward, backward, strict=True):
        assert torch.equal(one, other)
