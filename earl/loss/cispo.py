"""CISPO: the ratio is a clipped, detached weight, and no token loses its gradient (MiniMax-M1, arXiv 2506.13585)."""

import torch

from earl.config import LossConfig


def cispo(ratios_N: torch.Tensor, advantages_N: torch.Tensor, config: LossConfig) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss per token, -sg[min(r, 1 + clip_high)] A log r, and where the bound held (bool).

    d log r = d log-prob, so the slope is REINFORCE's with a bounded weight; the value itself is 0 at r = 1 and says
    little. `clip_low` has no part: only the upper bound is used by its authors.
    """
    bound = 1 + config.clip_high
    weights = ratios_N.detach().clamp(max=bound)
    return -weights * advantages_N * ratios_N.log(), ratios_N.detach() > bound
