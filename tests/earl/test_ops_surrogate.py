"""earl.ops.gated_surrogate against its twin, which is earl.loss; by hand; gradients."""

import math

import pytest
import torch

from earl import ops
from earl.config import LossConfig

CLIPS = [LossConfig(), LossConfig(dual_clip=3.0), LossConfig(clip_low=0.0, clip_high=0.0)]


def _tokens(dtype: torch.dtype, has_reference: bool) -> tuple:
    """Ratios from e^-2 to e^2, on both sides of every bound, in all signs of the advantage, a third of them closed."""
    log_ratios = torch.linspace(-2.0, 2.0, 41).repeat_interleave(3)
    advantages = torch.tensor([1.5, -0.7, 0.0]).repeat(41)
    sampling = torch.linspace(-3.0, -0.1, 123)
    reference = sampling + 0.3 * torch.linspace(-4.0, 4.0, 123).sin() if has_reference else None
    weights = (torch.tensor([0.01, 0.02, 0.0, 0.03]).repeat(31)[:123], torch.tensor([0.004, 0.0]).repeat(62)[:123])
    columns = [sampling + log_ratios, sampling, advantages, reference]
    typed = [None if column is None else column.to(dtype) for column in columns]
    return (*typed, tuple(weight.to(dtype) for weight in weights))


@pytest.mark.parametrize("config", CLIPS)
@pytest.mark.parametrize("has_reference", [False, True])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_loss_sums_and_gradients_equal_those_of_the_twin(dtype, tolerance, has_reference, config):
    logprobs, *rest = _tokens(dtype, has_reference)
    results = []
    for op in (ops.gated_surrogate, ops.gated_surrogate_ref):
        leaf = logprobs.clone().requires_grad_()
        output = op(leaf, *rest, config)
        results.append([output.loss.detach(), output.sums, *torch.autograd.grad(3 * output.loss, leaf)])
    assert results[0][0].dtype == dtype
    assert torch.equal(results[0][1][:3], results[1][1][:3])
    for got, want in zip(*results, strict=True):
        torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)


def test_hand_computed_values():
    logprobs = torch.tensor([math.log(2.0), math.log(2.0), 0.0, math.log(5.0)]).requires_grad_()
    advantages = torch.tensor([1.0, -1.0, 2.0, -1.0])
    weights = (torch.tensor([1.0, 1.0, 1.0, 1.0]), torch.tensor([0.0, 0.0, 0.0, 0.5]))
    reference = torch.tensor([0.0, 0.0, 0.0, 0.0])
    config = LossConfig(dual_clip=4.0)
    output = ops.gated_surrogate(logprobs, torch.zeros(4), advantages, reference, weights, config)
    # -1.28 (clipped at A = 1), 2 (free at A = -1), -2, 4 (dual clip); half of k3 = 1/5 + ln 5 - 1 at the last.
    assert output.loss.item() == pytest.approx(-1.28 + 2 - 2 + 4 + 0.5 * (0.2 + math.log(5) - 1))
    assert output.sums[:3].tolist() == [4, 1, 1]
    assert output.sums[3].item() == pytest.approx(2 * (0.5 + math.log(2) - 1) + 0.2 + math.log(5) - 1, rel=1e-5)
    assert output.sums[4].item() == 4
    (grad,) = torch.autograd.grad(output.loss, logprobs)
    assert grad.tolist() == pytest.approx([0.0, 2.0, -2.0, 0.5 * (1 - 0.2)])


def test_gradients_agree_with_finite_differences():
    logprobs, *rest = _tokens(torch.float64, True)
    config = LossConfig(dual_clip=3.0)
    assert torch.autograd.gradcheck(
        lambda x: ops.gated_surrogate(x, *rest, config).loss, ((logprobs + 0.011).requires_grad_(),)
    )


def test_no_tokens_make_no_loss():
    nothing = torch.empty(0, requires_grad=True)
    others = nothing.detach()
    output = ops.gated_surrogate(nothing, others, others, None, (others, others), LossConfig())
    output.loss.backward()
    assert output.loss.item() == 0.0
    assert nothing.grad.shape == (0,)


def test_opcheck_finds_nothing():
    logprobs, sampling, advantages, reference, weights = _tokens(torch.float32, True)
    arguments = (logprobs.requires_grad_(), sampling, advantages, reference, *weights, 0.2, 0.28, 0.0)
    torch.library.opcheck(torch.ops.earl.gated_surrogate, arguments)


def test_columns_of_other_lengths_and_types_are_refused():
    logprobs, sampling, advantages, _, weights = _tokens(torch.float32, False)
    with pytest.raises(ValueError, match=r"advantages must be \[123\], got \[122\]"):
        ops.gated_surrogate(logprobs, sampling, advantages[1:], None, weights, LossConfig())
    with pytest.raises(TypeError, match="sampling_logprobs must be Float, got Double"):
        ops.gated_surrogate(logprobs, sampling.double(), advantages, None, weights, LossConfig())
    half = logprobs.bfloat16()
    with pytest.raises(TypeError, match="logprobs must be float32 or float64, got BFloat16"):
        ops.gated_surrogate(half, half, half, None, (half, half), LossConfig())


def test_a_second_derivative_and_a_gradient_for_another_input_are_refused():
    x, one = torch.zeros(1, dtype=torch.float64, requires_grad=True), torch.ones(1, dtype=torch.float64)
    loss = ops.gated_surrogate(x, 0 * one, one, None, (one, 0 * one), LossConfig()).loss
    (slope,) = torch.autograd.grad(loss**2, x, create_graph=True)  # by hand: d exp(x)^2 = 2 exp(2x)
    assert slope.item() == pytest.approx(2.0)
    with pytest.raises(NotImplementedError, match="no second derivative; use gated_surrogate_ref"):
        torch.autograd.grad(slope, x)
    with pytest.raises(ValueError, match="only logprobs has a gradient"):
        ops.gated_surrogate(x.detach(), 0 * one, one.requires_grad_(), None, (one, 0 * one), LossConfig())
