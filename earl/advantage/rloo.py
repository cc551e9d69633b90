"""RLOO: each rollout against the mean of the others (arXiv 2402.14740)."""

import torch

from earl.advantage.groups import deviations, group_sizes
from earl.config import AdvantageConfig
from earl.types import TokenBatch


def rloo(rewards_B: torch.Tensor, batch: TokenBatch, config: AdvantageConfig) -> torch.Tensor:
    """r - mean of the others, which is G / (G - 1) times (r - mean)."""
    sizes_B = group_sizes(batch.group_ids)
    return deviations(rewards_B, batch.group_ids, config.min_std) * sizes_B / (sizes_B - 1)
