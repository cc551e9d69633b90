"""Entropy and structure together: the most uncertain tokens among those of structural classes.

EARL's motivation is that the uncertain tokens which decide control flow and module structure are few; here a token
must be both. The budget stays that of the whole response, so `fraction` means the same as for the plain entropy gate.
"""

from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator

from earl.gate.top_k import top_entropy
from earl.token_class import CLASSES
from earl.types import TokenBatch


class EntropyStructuralGateParams(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    fraction: Annotated[float, Field(gt=0, le=1)] = 0.2
    scope: Literal["response", "batch"] = "response"
    min_entropy: Annotated[float, Field(ge=0)] = 0.0  # nats
    classes: tuple[str, ...] = ("keyword", "edge", "type", "operator", "number", "identifier")

    @field_validator("classes")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in value if name not in CLASSES]
        if unknown or not value:
            raise ValueError(f"unknown token classes {unknown}; known: {', '.join(CLASSES)}")
        return value


def entropy_structural_gate(batch: TokenBatch, params: EntropyStructuralGateParams) -> torch.Tensor:
    """Mask (N,) of the top `fraction` of tokens by entropy among `classes`."""
    wanted = torch.tensor([CLASSES.index(name) for name in params.classes], device=batch.token_classes.device)
    return top_entropy(
        batch.entropies,
        batch.row_offsets,
        torch.isin(batch.token_classes, wanted),
        fraction=params.fraction,
        scope=params.scope,
        min_entropy=params.min_entropy,
    )
