"""The open gate: every completion token, as GRPO and DAPO train."""

import torch

from earl.params import NoParams
from earl.types import TokenBatch


def open_gate(batch: TokenBatch, params: NoParams, step: int) -> torch.Tensor:
    """All true, (N,)."""
    return torch.ones_like(batch.token_ids, dtype=torch.bool)
