"""Dr. GRPO's advantage: centred, not scaled, so that easy and hard problems weigh alike (arXiv 2503.20783)."""

import torch

from earl.advantage.groups import deviations
from earl.config import AdvantageConfig
from earl.types import TokenBatch


def dr_grpo(rewards_B: torch.Tensor, batch: TokenBatch, config: AdvantageConfig) -> torch.Tensor:
    """r - mean."""
    return deviations(rewards_B, batch.group_ids, config.min_std)
