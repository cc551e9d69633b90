"""Losses: what is clipped (the ratio) and how (the surrogate). The dict picks both.

`earl.loss.policy` puts gate, surrogate and KL together.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from earl.config import LossConfig
from earl.loss.cispo import cispo
from earl.loss.ppo_clip import ppo_clip
from earl.loss.ratio import sequence_ratios, token_ratios


@dataclass(frozen=True, slots=True)
class LossMethod:
    """Ratios (R,) from (log-ratios, response of each row, is gated); loss and "is clipped" (R,) from (ratios, A)."""

    ratios: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
    surrogate: Callable[[torch.Tensor, torch.Tensor, LossConfig], tuple[torch.Tensor, torch.Tensor]]


LOSSES = {
    "ppo_clip": LossMethod(token_ratios, ppo_clip),
    "gspo": LossMethod(sequence_ratios, ppo_clip),
    "cispo": LossMethod(token_ratios, cispo),
}
