"""The fused head of earl.ops: against the unfused one, its gradients, its tiles, positions, types."""

import math

import pytest
import torch
import torch.nn.functional as F

from earl import ops

# rows, vocabulary, width: one tile; three tiles of columns, the last one short; two blocks of rows, the last one short.
SHAPES = [(7, 131, 24), (5, 20_001, 6), (2_100, 777, 8)]


def _inputs(dtype: torch.dtype, shape: tuple[int, int, int] = SHAPES[0]) -> tuple[torch.Tensor, ...]:
    """hidden, weight, bias, targets: the first three want gradients."""
    num_rows, vocab, width = shape
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(num_rows, width, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
    weight = (torch.randn(vocab, width, generator=generator, dtype=torch.float64) * 0.5).to(dtype).requires_grad_()
    bias = torch.randn(vocab, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
    targets = torch.randint(0, vocab, (num_rows,), generator=generator)
    targets[:2] = torch.tensor([0, vocab - 1])
    return hidden, weight, bias, targets


def _row_weights(num_rows: int) -> torch.Tensor:
    """Half of them zero."""
    return torch.tensor([1.0, 0.0, -2.0, 0.0, 0.5, 0.0, 0.25]).repeat(num_rows // 7 + 1)[:num_rows]


def _loss(stats: ops.TokenStats) -> torch.Tensor:
    weights = _row_weights(stats.logprob.numel())
    return (weights * (stats.logprob - 0.3 * stats.entropy + 0.1 * stats.logsumexp)).sum()


@pytest.mark.parametrize("temperature", [0.5, 2.0])
@pytest.mark.parametrize("has_bias", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_equal_those_of_the_unfused_head(shape, has_bias, temperature):
    hidden, weight, bias, targets = _inputs(torch.float64, shape)
    leaves = (hidden, weight, bias) if has_bias else (hidden, weight)
    bias = bias if has_bias else None
    fused = ops.linear_token_logprob_entropy(hidden, weight, targets, temperature, bias=bias)
    unfused = ops.linear_token_logprob_entropy_ref(hidden, weight, targets, temperature, bias=bias)
    for got, want in zip(fused, unfused, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    got, want = torch.autograd.grad(_loss(fused), leaves), torch.autograd.grad(_loss(unfused), leaves)
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("positions", [None, torch.tensor([0, 2, 3])])
def test_gradients_agree_with_finite_differences(positions):
    hidden, weight, bias, targets = (value.detach() for value in _inputs(torch.float64))
    leaves = [value.clone().requires_grad_() for value in (hidden[:4, :5], weight[:9, :5], bias[:9])]
    targets = targets[:4] % 9
    assert torch.autograd.gradcheck(
        lambda h, w, b: tuple(ops.linear_token_logprob_entropy(h, w, targets, 0.7, bias=b, positions=positions)),
        leaves,
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_positions_give_what_the_whole_gives_there_and_touch_nothing_else(shape):
    hidden, weight, _, targets = _inputs(torch.float64, shape)
    positions = _row_weights(shape[0]).nonzero().squeeze(1)
    whole = ops.linear_token_logprob_entropy(hidden, weight, targets)
    whole_grads = torch.autograd.grad(_loss(whole), (hidden, weight))
    with torch.no_grad():
        hidden[_row_weights(shape[0]) == 0] = float("nan")
    part = ops.linear_token_logprob_entropy(hidden, weight, targets, positions=positions)
    for got, want in zip(part, whole, strict=True):
        torch.testing.assert_close(got, want[positions], rtol=1e-12, atol=1e-12)
    weights = _row_weights(shape[0])[positions]
    loss = (weights * (part.logprob - 0.3 * part.entropy + 0.1 * part.logsumexp)).sum()
    torch.testing.assert_close(torch.autograd.grad(loss, (hidden, weight)), whole_grads, rtol=1e-10, atol=1e-12)


def test_a_frozen_weight_gets_no_gradient_and_hidden_gets_the_same_one():
    hidden, weight, _, targets = _inputs(torch.float32)
    (with_weight, _) = torch.autograd.grad(
        _loss(ops.linear_token_logprob_entropy(hidden, weight, targets)), (hidden, weight)
    )
    frozen = weight.detach()
    _loss(ops.linear_token_logprob_entropy(hidden, frozen, targets)).backward()
    assert frozen.grad is None
    assert torch.equal(hidden.grad, with_weight)


def test_the_backward_op_makes_only_the_gradients_that_are_needed():
    hidden, weight, bias, targets = (value.detach() for value in _inputs(torch.float32))
    stats = torch.ops.earl.linear_token_logprob_entropy(hidden, weight, bias, targets, 1.0, None, None)
    for needs in ([True, False, False], [False, True, False], [False, False, True]):
        found = torch.ops.earl.linear_token_logprob_entropy_backward(
            *stats, hidden, weight, bias, targets, *stats[1:], 1.0, None, None, needs
        )
        assert [grad.numel() > 0 for grad in found] == needs


def test_rows_with_no_gradient_are_not_computed_in_the_backward_pass():
    hidden, weight, _, targets = _inputs(torch.float32)
    is_closed = _row_weights(7) == 0
    with torch.no_grad():
        hidden[is_closed] = float("nan")  # would reach the weight's gradient if multiplied by zero
    stats = ops.linear_token_logprob_entropy(hidden, weight, targets)
    grad_rows = [_row_weights(7), torch.zeros(7), torch.zeros(7)]
    grad_hidden, grad_weight = torch.autograd.grad(stats, (hidden, weight), grad_rows)
    assert grad_weight.isfinite().all()
    assert grad_hidden[is_closed].eq(0).all()
    assert grad_hidden[~is_closed].ne(0).all()


def test_a_nan_stays_in_its_row_and_infinite_logits_do_not_crash():
    hidden, weight, bias, targets = _inputs(torch.float32)
    bias = torch.full_like(bias, -torch.inf).index_fill_(0, targets[:3], 0.0)
    with torch.no_grad():
        hidden[4] = float("nan")
    stats = ops.linear_token_logprob_entropy(hidden, weight, targets, bias=bias)
    assert stats.entropy.isnan().tolist() == [False] * 4 + [True] + [False] * 2
    assert stats.logprob[:3].isfinite().all()
    assert stats.logprob[3] == -torch.inf


def test_a_backward_pass_without_any_gradient_gives_zeros():
    hidden, weight, bias, targets = _inputs(torch.float32)
    stats = ops.linear_token_logprob_entropy(hidden, weight, targets, bias=bias)
    for grad in torch.autograd.grad(stats, (hidden, weight, bias), [torch.zeros(7)] * 3):
        assert grad.eq(0).all()


@pytest.mark.parametrize("positions", [None, torch.empty(0, dtype=torch.int64)])
def test_no_rows_are_accepted(positions):
    hidden = torch.empty(0 if positions is None else 3, 24, requires_grad=True)
    weight = torch.ones(5, 24, requires_grad=True)
    targets = torch.zeros(hidden.shape[0], dtype=torch.int64)
    stats = ops.linear_token_logprob_entropy(hidden, weight, targets, positions=positions)
    stats.logprob.sum().backward()
    assert hidden.grad.shape == hidden.shape
    assert weight.grad.eq(0).all()


def test_inputs_may_be_strided_in_any_way():
    hidden, weight, _, targets = (value.detach() for value in _inputs(torch.float32))
    want = ops.linear_token_logprob_entropy(hidden, weight, targets)
    wide = torch.stack([hidden, hidden], dim=2)[:, :, 1]
    transposed = weight.t().contiguous().t()
    for got, value in zip(ops.linear_token_logprob_entropy(wide, transposed, targets), want, strict=True):
        torch.testing.assert_close(got, value, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("vocab", [1, 3, 129, 255_999])
@pytest.mark.parametrize("scale", [0.0, 0.1, 1.0, 3_000.0])  # flat, random, peaked, logits of about +-10,000
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_errors_are_no_worse_than_those_of_the_naive_path(dtype, scale, vocab):
    if dtype == torch.float16 and scale > 1:
        pytest.skip("the naive path overflows")
    generator = torch.Generator().manual_seed(vocab)
    hidden = torch.randn(3, 4, generator=generator).to(dtype)
    weight = (torch.randn(vocab, 4, generator=generator) * scale).to(dtype)
    targets = torch.tensor([0, vocab - 1, vocab // 2])
    exact = ops.linear_token_logprob_entropy_ref(hidden.double(), weight.double(), targets)
    logprobs = F.log_softmax(F.linear(hidden, weight), dim=-1)
    naive = (logprobs.gather(1, targets[:, None])[:, 0], -(logprobs.exp() * logprobs).sum(-1))
    fused = ops.linear_token_logprob_entropy(hidden, weight, targets)
    for ours, theirs, truth in zip(fused, naive, exact, strict=False):
        # Both sides may be lucky to the last digit of the logits, which fp32 sums of four products leave open.
        last_digit = 4 * torch.finfo(torch.float32).eps * (1 + scale * 4)
        naive_error = (theirs - truth).abs().max().nan_to_num(nan=math.inf)  # fp16 sums overflow
        assert (ours - truth).abs().max() <= naive_error + last_digit


@pytest.mark.parametrize("gemm_dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("storage", [torch.float32, torch.bfloat16, torch.float16])
def test_every_type_is_multiplied_in_every_type(storage, gemm_dtype):
    hidden, weight, bias, targets = _inputs(storage, (2_100, 777, 8))
    exact_leaves = [value.detach().double().requires_grad_() for value in (hidden, weight, bias)]
    exact = ops.linear_token_logprob_entropy_ref(*exact_leaves[:2], targets, bias=exact_leaves[2])
    stats = torch.ops.earl.linear_token_logprob_entropy(hidden, weight, bias, targets, 1.0, None, gemm_dtype)
    assert [value.dtype for value in stats] == [torch.float32, torch.float32, torch.float64]
    coarsest = max(torch.finfo(storage).eps, torch.finfo(gemm_dtype).eps)
    for got, want in zip(stats, exact, strict=True):
        assert (got - want).abs().max() <= max(3 * torch.finfo(gemm_dtype).eps, 1e-5) * want.abs().max()
    grads = torch.autograd.grad(_loss(ops.TokenStats(*stats)), (hidden, weight, bias))
    exact_grads = torch.autograd.grad(_loss(exact), exact_leaves)
    for got, want in zip(grads, exact_grads, strict=True):
        assert got.dtype == storage
        assert (got - want).norm() <= max(2 * coarsest, 1e-5) * want.norm()


def test_autocast_gives_fp32_values_and_gradients_and_the_backward_pass_keeps_its_type():
    hidden, weight, _, targets = _inputs(torch.float32)
    exact_leaves = [hidden.detach().double().requires_grad_(), weight.detach().double().requires_grad_()]
    exact = torch.autograd.grad(_loss(ops.linear_token_logprob_entropy_ref(*exact_leaves, targets)), exact_leaves)
    grads = []
    for backward_in_bf16 in (True, False):
        with torch.autocast("cpu", torch.bfloat16):
            loss = _loss(ops.linear_token_logprob_entropy(hidden, weight, targets))
        with torch.autocast("cpu", torch.bfloat16, enabled=backward_in_bf16):
            grads.append(torch.autograd.grad(loss, (hidden, weight)))
    for inside, outside, want in zip(*grads, exact, strict=True):
        assert torch.equal(inside, outside)
        assert inside.dtype == torch.float32
        assert (inside - want).norm() < 0.01 * want.norm()  # bf16 keeps 8 bits: 0.4 % a factor


def test_autocast_brings_two_types_together():
    hidden, weight, _, targets = _inputs(torch.float32)
    want = ops.linear_token_logprob_entropy(hidden, weight, targets)
    with torch.autocast("cpu", torch.bfloat16):
        got = ops.linear_token_logprob_entropy(hidden.bfloat16(), weight, targets)
    torch.testing.assert_close(got.entropy, want.entropy, rtol=0.02, atol=0.02)


def test_bf16_gradients_are_no_worse_than_the_naive_path():
    generator = torch.Generator().manual_seed(5)
    hidden = torch.randn(300, 64, generator=generator).bfloat16().requires_grad_()
    weight = (torch.randn(700, 64, generator=generator) * 0.3).bfloat16().requires_grad_()
    targets = torch.arange(300)
    exact_leaves = [hidden.detach().double().requires_grad_(), weight.detach().double().requires_grad_()]
    exact_stats = ops.linear_token_logprob_entropy_ref(*exact_leaves, targets)
    exact = torch.autograd.grad(exact_stats.logprob.sum(), exact_leaves)
    naive_logprob = F.log_softmax(F.linear(hidden, weight), dim=-1).gather(1, targets[:, None])[:, 0]
    errors = {}
    for name, logprob in (
        ("naive", naive_logprob),
        ("fused", ops.linear_token_logprob_entropy(hidden, weight, targets).logprob),
    ):
        grads = torch.autograd.grad(logprob.sum(), (hidden, weight))
        assert {grad.dtype for grad in grads} == {torch.bfloat16}
        errors[name] = [(logprob - exact_stats.logprob).norm()]
        errors[name] += [(got - want).norm() for got, want in zip(grads, exact, strict=True)]
    for fused, naive in zip(errors["fused"], errors["naive"], strict=True):
        assert fused < naive


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_opcheck_finds_nothing(dtype):
    hidden, weight, bias, targets = _inputs(dtype)
    positions = torch.tensor([0, 3, 6])
    op, backward = torch.ops.earl.linear_token_logprob_entropy, torch.ops.earl.linear_token_logprob_entropy_backward
    torch.library.opcheck(op, (hidden, weight, bias, targets, 0.7, positions, None))
    torch.library.opcheck(op, (hidden, weight, None, targets, 0.7, None, None))
    leaves = [value.detach() for value in (hidden, weight, bias)]
    stats = op(*leaves, targets, 0.7, positions, None)
    arguments = (*stats, *leaves, targets, *stats[1:], 0.7, positions, None, [True, False, True])
    torch.library.opcheck(backward, arguments)


def test_wrong_arguments_are_refused():
    hidden, weight, bias, targets = (value.detach() for value in _inputs(torch.float32))
    with pytest.raises(ValueError, match=r"hidden must be \[N, H\] and weight \[V, H\], got \[7, 24\] and \[131, 23\]"):
        ops.linear_token_logprob_entropy(hidden, weight[:, 1:], targets)
    with pytest.raises(ValueError, match=r"targets must be \[7\], one for each row, got \[8\]"):
        ops.linear_token_logprob_entropy(hidden, weight, torch.zeros(8, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"bias must be floating-point \[131\]"):
        ops.linear_token_logprob_entropy(hidden, weight, targets, bias=bias[1:])
    with pytest.raises(TypeError, match="cast one of them"):
        ops.linear_token_logprob_entropy(hidden, weight.bfloat16(), targets)
    with pytest.raises(TypeError, match="gemm_dtype Double does not go with inputs of Float"):
        torch.ops.earl.linear_token_logprob_entropy(hidden, weight, None, targets, 1.0, None, torch.float64)
    with pytest.raises(IndexError, match="target 131 of row 2 "):
        ops.linear_token_logprob_entropy(hidden, weight, torch.tensor([0, 1, 131, 0, 0, 0, 0]))
    for positions in ([0, 0], [3, 1], [-1, 2], [5, 7]):
        with pytest.raises(IndexError, match=r"positions must rise within \[0, 7\)"):
            ops.linear_token_logprob_entropy(hidden, weight, targets, positions=torch.tensor(positions))
    with pytest.raises(ValueError, match="temperature must be a positive, finite number, got 0"):
        ops.linear_token_logprob_entropy(hidden, weight, targets, 0.0)


def test_a_second_derivative_is_refused():
    hidden, weight, _, targets = _inputs(torch.float64)
    stats = ops.linear_token_logprob_entropy(hidden, weight, targets)
    (grad,) = torch.autograd.grad(stats.entropy.sum(), hidden, create_graph=True)
    with pytest.raises(NotImplementedError, match="no second derivative"):
        grad.sum().backward()
