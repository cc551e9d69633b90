"""The clipped surrogate with its own bound upwards (clip-higher, DAPO, arXiv 2503.14476) and dual clip (1912.09729)."""

import torch

from earl.config import LossConfig


def ppo_clip(
    ratios_N: torch.Tensor, advantages_N: torch.Tensor, config: LossConfig
) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss per token, max(-rA, -clip(r)A), and where the clip cut the gradient (bool). At r = 1 the slope is -A."""
    unclipped = -ratios_N * advantages_N
    clipped = -ratios_N.clamp(1 - config.clip_low, 1 + config.clip_high) * advantages_N
    loss = torch.maximum(unclipped, clipped)
    is_clipped = clipped > unclipped
    if config.dual_clip:
        bound = -config.dual_clip * advantages_N
        is_bounded = (advantages_N < 0) & (loss > bound)
        loss = torch.where(is_bounded, bound, loss)
        is_clipped = is_clipped | is_bounded
    return loss, is_clipped
