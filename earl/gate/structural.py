"""Structure: tokens of chosen lexical classes, whatever their entropy.

EARL's motivation is that few tokens decide control flow and module structure. As the `within` of the entropy gate this
picks the uncertain ones among them.
"""

import torch
from pydantic import field_validator

from earl.params import Params
from earl.token_class import CLASSES
from earl.types import TokenBatch


class StructuralGateParams(Params):
    classes: tuple[str, ...] = ("keyword", "edge", "type", "operator", "number", "identifier")

    @field_validator("classes")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in value if name not in CLASSES]
        if unknown or not value:
            raise ValueError(f"unknown token classes {unknown}; known: {', '.join(CLASSES)}")
        return value


def structural_gate(batch: TokenBatch, params: StructuralGateParams, step: int) -> torch.Tensor:
    """Mask (N,) of the tokens of `classes`."""
    wanted = torch.tensor([CLASSES.index(name) for name in params.classes], device=batch.token_classes.device)
    return torch.isin(batch.token_classes, wanted)
