"""GRPO's advantage: rewards standardised within the group (DeepSeekMath, arXiv 2402.03300)."""

import torch

from earl.advantage.groups import deviations, group_stds
from earl.config import AdvantageConfig
from earl.types import TokenBatch

_EPSILON = 1e-6


def grpo(rewards_B: torch.Tensor, batch: TokenBatch, config: AdvantageConfig) -> torch.Tensor:
    """(r - mean) / (std + eps), std unbiased. Invariant to shifting and, but for eps, to scaling the rewards."""
    stds_B = group_stds(rewards_B, batch.group_ids)
    return deviations(rewards_B, batch.group_ids, config.min_std) / (stds_B + _EPSILON)
