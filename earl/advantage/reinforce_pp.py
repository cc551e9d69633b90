"""REINFORCE++ (arXiv 2501.03262): rewards whitened over the whole step instead of within the group.

Mean and deviation are over tokens, as its authors take them: a response weighs as much as it is long. The variant with
a baseline centres each group first, as DLER does (arXiv 2510.15110); it is the one for graded problems of unequal
difficulty. Both give a group without variance an advantage: drop it with `groups.filter`, if that is not wanted.
"""

import torch

from earl.advantage.groups import deviations
from earl.config import AdvantageConfig
from earl.types import TokenBatch

_EPSILON = 1e-6


def _whitened(values_B: torch.Tensor, lengths_B: torch.Tensor, min_std: float) -> torch.Tensor:
    weights_B = lengths_B.double() / lengths_B.sum()
    centred = values_B - (weights_B * values_B).sum()
    std = float((weights_B * centred.square()).sum().sqrt())
    return torch.zeros_like(values_B) if std < min_std else centred / (std + _EPSILON)


def reinforce_pp(rewards_B: torch.Tensor, batch: TokenBatch, config: AdvantageConfig) -> torch.Tensor:
    """(r - mean) / (std + eps) over all tokens of the step; all zero where that deviation is under `min_std`."""
    return _whitened(rewards_B, batch.lengths, config.min_std)


def reinforce_pp_baseline(rewards_B: torch.Tensor, batch: TokenBatch, config: AdvantageConfig) -> torch.Tensor:
    """The same of r - group mean."""
    return _whitened(deviations(rewards_B, batch.group_ids, config.min_std), batch.lengths, config.min_std)
