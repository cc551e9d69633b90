"""The clipped surrogate and the KL term of packed tokens, value and gradient in one pass.

The gate and the denominators are in the tokens' weights (`earl.loss.policy`). What is computed is `ppo_clip` and `k3`
of earl.loss; other surrogates run there in plain torch.
"""

from typing import NamedTuple

import torch

from earl.config import LossConfig
from earl.loss.kl import k3
from earl.loss.ppo_clip import ppo_clip


class SurrogateOutput(NamedTuple):
    """The loss, with gradient, and detached sums over the tokens given."""

    loss: torch.Tensor  # (), in the type of the log-probs
    sums: torch.Tensor  # [5] fp64: gated; of these clipped at A < 0; clipped at A >= 0; sum of k3; number of k3's


def gated_surrogate(
    logprobs: torch.Tensor,
    sampling_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    reference_logprobs: torch.Tensor | None,
    weights: tuple[torch.Tensor, torch.Tensor],
    config: LossConfig,
) -> SurrogateOutput:
    """Sum of w * max(-rA, -clip(r)A), bounded by the dual clip, plus the sum of w_KL * k3: all [N], of one type.

    Args:
        weights: of the surrogate and of k3, zero where a token has no part in it; neither is negative.
        config: clip_low, clip_high and dual_clip (0: off).

    Only `logprobs` has a gradient, once: a second derivative is an error, and so is another input that wants one.
    Raises ValueError for shapes, TypeError for types. Values are as in plain torch; the sums are taken in fp64.
    """
    loss, _, sums = torch.ops.earl.gated_surrogate(
        logprobs,
        sampling_logprobs,
        advantages,
        reference_logprobs,
        *weights,
        config.clip_low,
        config.clip_high,
        config.dual_clip,
    )
    return SurrogateOutput(loss.to(logprobs.dtype), sums.detach())


def gated_surrogate_ref(
    logprobs: torch.Tensor,
    sampling_logprobs: torch.Tensor,
    advantages: torch.Tensor,
    reference_logprobs: torch.Tensor | None,
    weights: tuple[torch.Tensor, torch.Tensor],
    config: LossConfig,
) -> SurrogateOutput:
    """`gated_surrogate` from the parts of earl.loss."""
    token_loss, is_clipped = ppo_clip((logprobs - sampling_logprobs).exp(), advantages, config)
    loss = (weights[0] * token_loss).sum()
    is_gated = weights[0] > 0
    counted = [is_gated, is_clipped & is_gated & (advantages < 0), is_clipped & is_gated & (advantages >= 0)]
    sums = [column.sum().double() for column in counted]
    if reference_logprobs is None:
        sums += [torch.zeros_like(sums[0])] * 2
    else:
        divergence = k3(logprobs, reference_logprobs)
        loss = loss + (weights[1] * divergence).sum()
        sums += [divergence.detach().double().sum(), torch.full_like(sums[0], divergence.numel())]
    return SurrogateOutput(loss, torch.stack(sums))


@torch.library.register_fake("earl::gated_surrogate")
def _fake(  # noqa: PLR0913  (the op's schema)
    logprobs,
    sampling_logprobs,
    advantages,
    reference_logprobs,
    surrogate_weights,
    kl_weights,
    clip_low,
    clip_high,
    dual_clip,
):
    dense = torch.empty_like(logprobs, memory_format=torch.contiguous_format)
    return logprobs.new_empty((), dtype=torch.float64), dense, logprobs.new_empty(5, dtype=torch.float64)


def _save_for_backward(ctx, inputs, output):
    if any(ctx.needs_input_grad[1:]):
        raise ValueError("gated_surrogate: only logprobs has a gradient; detach the other tensors")
    _, grad_logprobs, _ = output
    ctx.save_for_backward(grad_logprobs, inputs[0])
    ctx.mark_non_differentiable(*output[1:])


class _Product(torch.autograd.Function):
    """The gradient as a function of the log-probs whose own derivative is refused."""

    @staticmethod
    def forward(ctx, grad_loss, grad_logprobs, logprobs):
        return grad_loss.to(grad_logprobs.dtype) * grad_logprobs

    @staticmethod
    def backward(ctx, grad):
        raise NotImplementedError(
            "earl::gated_surrogate has no second derivative; use gated_surrogate_ref where one is needed"
        )


def _backward(ctx, grad_loss, *_):
    return (_Product.apply(grad_loss, *ctx.saved_tensors), *[None] * 8)


torch.library.register_autograd("earl::gated_surrogate", _backward, setup_context=_save_for_backward)
