"""Cross-entropy less a bonus for the policy's own entropy, which keeps it from growing certain too early.

The maximum-entropy term of policy gradients (arXiv 1602.01783), on supervised tokens.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field

from earl.ops import TokenStats
from earl.params import Params


class EntropyBonusParams(Params):
    """`coefficient` of the entropy; 0 is plain cross-entropy."""

    coefficient: Annotated[float, Field(ge=0)] = 0.01


def entropy_bonus(stats: TokenStats, lengths: Sequence[int], params: EntropyBonusParams) -> torch.Tensor:
    """-log p - coefficient * H (N,), nats; the gradient goes through both."""
    if params.coefficient == 0:
        return -stats.logprob
    return -stats.logprob - params.coefficient * stats.entropy
