"""The fused head of earl.ops: against the unfused one, its gradients, its chunks, autocast."""

import pytest
import torch
import torch.nn.functional as F

from earl import ops

CHUNKS = [1, 3, 7, 256]  # of 7 rows


def _inputs(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(7, 24, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()
    weight = (torch.randn(131, 24, generator=generator, dtype=torch.float64) * 0.5).to(dtype).requires_grad_()
    return hidden, weight, torch.tensor([0, 130, 5, 64, 64, 1, 17])


def _loss(stats: ops.TokenStats, row_weights: torch.Tensor) -> torch.Tensor:
    return (row_weights * (stats.logprob - 0.3 * stats.entropy + 0.1 * stats.logsumexp)).sum()


ROW_WEIGHTS = torch.tensor([1.0, 0.0, -2.0, 0.0, 0.5, 0.0, 0.25])


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("chunk_rows", CHUNKS)
def test_values_and_gradients_equal_those_of_the_unfused_head(chunk_rows, temperature):
    hidden, weight, targets = _inputs(torch.float64)
    fused = ops.linear_token_logprob_entropy(hidden, weight, targets, temperature, chunk_rows)
    unfused = ops.linear_token_logprob_entropy_ref(hidden, weight, targets, temperature)
    for got, want in zip(fused, unfused, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)
    got = torch.autograd.grad(_loss(fused, ROW_WEIGHTS), (hidden, weight))
    want = torch.autograd.grad(_loss(unfused, ROW_WEIGHTS), (hidden, weight))
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)


def test_gradients_agree_with_finite_differences():
    hidden, weight, targets = _inputs(torch.float64)
    hidden, weight = hidden[:4, :5].detach().requires_grad_(), weight[:9, :5].detach().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda h, w: tuple(ops.linear_token_logprob_entropy(h, w, targets[:4] % 9, 0.7, 3)), (hidden, weight)
    )


def test_a_frozen_weight_gets_no_gradient_and_hidden_gets_the_same_one():
    hidden, weight, targets = _inputs(torch.float32)
    stats = ops.linear_token_logprob_entropy(hidden, weight, targets, chunk_rows=3)
    (with_weight, _) = torch.autograd.grad(_loss(stats, ROW_WEIGHTS), (hidden, weight))
    frozen = weight.detach()
    _loss(ops.linear_token_logprob_entropy(hidden, frozen, targets, chunk_rows=3), ROW_WEIGHTS).backward()
    assert frozen.grad is None
    assert torch.equal(hidden.grad, with_weight)


def test_rows_with_no_gradient_are_not_computed_at_all():
    hidden, weight, targets = _inputs(torch.float32)
    with torch.no_grad():
        hidden[ROW_WEIGHTS == 0] = float("nan")  # would reach the weight's gradient if multiplied by zero
    stats = ops.linear_token_logprob_entropy(hidden, weight, targets, chunk_rows=2)
    grad_rows = [ROW_WEIGHTS, torch.zeros(7), torch.zeros(7)]
    grad_hidden, grad_weight = torch.autograd.grad(stats, (hidden, weight), grad_rows)
    assert grad_weight.isfinite().all()
    assert grad_hidden[ROW_WEIGHTS == 0].eq(0).all()
    assert grad_hidden[ROW_WEIGHTS != 0].ne(0).all()


def test_a_backward_pass_without_any_gradient_gives_zeros():
    hidden, weight, targets = _inputs(torch.float32)
    stats = ops.linear_token_logprob_entropy(hidden, weight, targets)
    for grad in torch.autograd.grad(stats, (hidden, weight), [torch.zeros(7)] * 3):
        assert grad.eq(0).all()


def test_no_rows_are_accepted():
    hidden = torch.empty(0, 24, requires_grad=True)
    weight = torch.ones(5, 24, requires_grad=True)
    stats = ops.linear_token_logprob_entropy(hidden, weight, torch.empty(0, dtype=torch.int64))
    stats.logprob.sum().backward()
    assert hidden.grad.shape == (0, 24)
    assert weight.grad.eq(0).all()


def test_autocast_computes_in_bf16_and_gives_fp32_values_and_gradients():
    hidden, weight, targets = _inputs(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        fused = ops.linear_token_logprob_entropy(hidden, weight, targets, chunk_rows=3)
        unfused = ops.linear_token_logprob_entropy_ref(hidden, weight, targets)
    assert {value.dtype for value in fused} == {torch.float32}
    for got, want in zip(fused, unfused, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
    grads = torch.autograd.grad(_loss(fused, ROW_WEIGHTS), (hidden, weight))
    exact_leaves = [hidden.detach().double().requires_grad_(), weight.detach().double().requires_grad_()]
    exact_stats = ops.linear_token_logprob_entropy_ref(*exact_leaves, targets)
    exact = torch.autograd.grad(_loss(exact_stats, ROW_WEIGHTS), exact_leaves)
    for got, want in zip(grads, exact, strict=True):
        assert got.dtype == torch.float32
        assert (got - want).norm() < 0.01 * want.norm()  # bf16 keeps 8 bits: 0.4 % a factor


def test_the_backward_pass_keeps_the_type_of_the_forward_pass_inside_and_outside_autocast():
    hidden, weight, targets = _inputs(torch.float32)
    grads = []
    for forward_in_bf16 in (True, False):
        for backward_in_bf16 in (True, False):
            with torch.autocast("cpu", torch.bfloat16, enabled=forward_in_bf16):
                loss = _loss(ops.linear_token_logprob_entropy(hidden, weight, targets), ROW_WEIGHTS)
            with torch.autocast("cpu", torch.bfloat16, enabled=backward_in_bf16):
                grads.append(torch.autograd.grad(loss, (hidden, weight)))
    in_in, in_out, out_in, out_out = grads
    for i in range(2):
        assert torch.equal(in_in[i], in_out[i])
        assert torch.equal(out_in[i], out_out[i])
        assert not torch.equal(in_in[i], out_out[i])


def test_bf16_weights_get_bf16_gradients_no_worse_than_the_naive_path():
    generator = torch.Generator().manual_seed(5)
    hidden = torch.randn(300, 64, generator=generator).bfloat16().requires_grad_()
    weight = (torch.randn(700, 64, generator=generator) * 0.3).bfloat16().requires_grad_()
    targets = torch.arange(300)
    errors = {}
    exact_leaves = [hidden.detach().double().requires_grad_(), weight.detach().double().requires_grad_()]
    exact_stats = ops.linear_token_logprob_entropy_ref(*exact_leaves, targets)
    exact = torch.autograd.grad(exact_stats.logprob.sum(), exact_leaves)
    naive_logprob = F.log_softmax(F.linear(hidden, weight), dim=-1).gather(1, targets[:, None])[:, 0]
    fused_logprob = ops.linear_token_logprob_entropy(hidden, weight, targets, chunk_rows=64).logprob
    for name, logprob in (("naive", naive_logprob), ("fused", fused_logprob)):
        grads = torch.autograd.grad(logprob.sum(), (hidden, weight))
        assert {grad.dtype for grad in grads} == {torch.bfloat16}
        errors[name] = [(logprob - exact_stats.logprob).norm()]
        errors[name] += [(got - want).norm() for got, want in zip(grads, exact, strict=True)]
    for fused, naive in zip(errors["fused"], errors["naive"], strict=True):
        assert fused < naive


def test_wrong_arguments_are_refused():
    hidden, weight, targets = _inputs(torch.float32)
    with pytest.raises(ValueError, match=r"hidden must be \[N, H\] and weight \[V, H\], got \(7, 24\) and \(131, 23\)"):
        ops.linear_token_logprob_entropy(hidden, weight[:, 1:], targets)
    with pytest.raises(ValueError, match=r"targets must be \[7\], one for each row of hidden, got \(8,\)"):
        ops.linear_token_logprob_entropy(hidden, weight, torch.zeros(8, dtype=torch.int64))
    with pytest.raises(ValueError, match="chunk_rows must be at least 1, got 0"):
        ops.linear_token_logprob_entropy(hidden, weight, targets, chunk_rows=0)
    with pytest.raises(ValueError, match="cast one of them"):
        ops.linear_token_logprob_entropy(hidden, weight.bfloat16(), targets)
    with pytest.raises(IndexError, match="target 131 of row 2 "):
        ops.linear_token_logprob_entropy(hidden, weight, torch.tensor([0, 1, 131, 0, 0, 0, 0]))
