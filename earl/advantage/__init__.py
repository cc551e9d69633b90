"""Advantages: one a response, from the rewards of a whole step. One small file a method; the dict picks it.

An advantage is a function of the rewards (B,) in fp64, the batch that they belong to, and the config. DAPO has none of
its own: it is `grpo` with the filter `variance`.
"""

from collections.abc import Callable

import torch

from earl.advantage.dr_grpo import dr_grpo
from earl.advantage.grpo import grpo
from earl.advantage.reinforce_pp import reinforce_pp, reinforce_pp_baseline
from earl.advantage.rloo import rloo
from earl.config import AdvantageConfig
from earl.types import TokenBatch

ADVANTAGES: dict[str, Callable[[torch.Tensor, TokenBatch, AdvantageConfig], torch.Tensor]] = {
    "grpo": grpo,
    "dr_grpo": dr_grpo,
    "rloo": rloo,
    "reinforce_pp": reinforce_pp,
    "reinforce_pp_baseline": reinforce_pp_baseline,
}
