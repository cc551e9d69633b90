"""EARL's gate: the share of each response with the highest entropy (arXiv 2511.12033; our reading, docs/training.md).

scope "batch" is the 80/20 rule instead (arXiv 2506.01939): one budget for all responses, so a confident one may get
no token at all.
"""

from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from earl.gate.top_k import top_entropy
from earl.types import TokenBatch


class EntropyGateParams(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    fraction: Annotated[float, Field(gt=0, le=1)] = 0.2
    scope: Literal["response", "batch"] = "response"
    min_entropy: Annotated[float, Field(ge=0)] = 0.0  # nats


def entropy_gate(batch: TokenBatch, params: EntropyGateParams) -> torch.Tensor:
    """Mask (N,) of the top `fraction` of tokens by entropy."""
    eligible = torch.ones_like(batch.token_ids, dtype=torch.bool)
    return top_entropy(
        batch.entropies,
        batch.row_offsets,
        eligible,
        fraction=params.fraction,
        scope=params.scope,
        min_entropy=params.min_entropy,
    )
