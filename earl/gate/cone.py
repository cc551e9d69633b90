"""The cone gate: tokens of the statements that can be why an output is wrong (`verifiers.cone`).

A response without a cone (it passed, or never ran) is let through whole, or not at all with `otherwise = "closed"`.
"""

from typing import Literal

import torch

from earl.params import Params
from earl.types import TokenBatch


class ConeGateParams(Params):
    otherwise: Literal["open", "closed"] = "open"


def cone_gate(batch: TokenBatch, params: ConeGateParams, step: int) -> torch.Tensor:
    """Mask (N,) of the tokens on lines that feed a wrong output."""
    assert batch.suspects is not None, "the batch was packed without cones"
    response_N = torch.arange(batch.num_sequences).repeat_interleave(batch.lengths)
    sizes_B = torch.zeros(batch.num_sequences, dtype=torch.int64).index_add(0, response_N, batch.suspects.long())
    is_without_N = sizes_B[response_N] == 0
    return batch.suspects | is_without_N if params.otherwise == "open" else batch.suspects
