"""Gates of gates: a token must pass all of them, or one of them."""

from typing import Annotated

import torch
from pydantic import Field

from earl.gate.spec import GateSpec
from earl.params import Params
from earl.types import TokenBatch


class CombinedGateParams(Params):
    gates: Annotated[tuple[GateSpec, ...], Field(min_length=1)]


def intersection_gate(batch: TokenBatch, params: CombinedGateParams, step: int) -> torch.Tensor:
    """Mask (N,) of the tokens that every gate lets through."""
    return torch.stack([gate(batch, step) for gate in params.gates]).all(dim=0)


def union_gate(batch: TokenBatch, params: CombinedGateParams, step: int) -> torch.Tensor:
    """Mask (N,) of the tokens that some gate lets through."""
    return torch.stack([gate(batch, step) for gate in params.gates]).any(dim=0)
