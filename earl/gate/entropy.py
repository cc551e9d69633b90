"""EARL's gate: the share of each response with the highest entropy (arXiv 2511.12033; our reading, docs/training.md).

scope "batch" is the 80/20 rule instead (arXiv 2506.01939): one budget for all responses, so a confident one may get
no token at all. `within` narrows the choice to the tokens of another gate; the budget stays that of the whole response,
so that `fraction` means the same.
"""

from typing import Annotated, Literal

import torch
from pydantic import Field

from earl.gate.spec import Fraction, GateSpec, fraction_at
from earl.gate.top_k import top_entropy
from earl.params import Params
from earl.types import TokenBatch


class EntropyGateParams(Params):
    fraction: Fraction = 0.2  # or a schedule: {start, end, num_steps, shape}
    scope: Literal["response", "batch"] = "response"
    min_entropy: Annotated[float, Field(ge=0)] = 0.0  # nats
    within: GateSpec | None = None


def entropy_gate(batch: TokenBatch, params: EntropyGateParams, step: int) -> torch.Tensor:
    """Mask (N,) of the top `fraction` of tokens by entropy."""
    everything = torch.ones_like(batch.token_ids, dtype=torch.bool)
    return top_entropy(
        batch.entropies,
        batch.row_offsets,
        everything if params.within is None else params.within(batch, step),
        fraction=fraction_at(params.fraction, step),
        scope=params.scope,
        min_entropy=params.min_entropy,
    )
