"""The open gate: every completion token, as GRPO and DAPO train."""

import torch
from pydantic import BaseModel, ConfigDict

from earl.types import TokenBatch


class OpenGateParams(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def open_gate(batch: TokenBatch, params: OpenGateParams) -> torch.Tensor:
    """All true, (N,)."""
    return torch.ones_like(batch.token_ids, dtype=torch.bool)
