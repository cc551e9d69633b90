"""Entropy-preserving supervised training of Light-IF (arXiv 2508.03178): only the tokens that surprise the policy.

d = cross-entropy - c * entropy is high where the policy is wrong and sure of it, low where it is right or undecided
anyway. The tokens of the highest d train; at the others nothing makes the policy more certain. The paper's code trains
a top share by d; that it is a share of each completion, and the defaults, are ours.
"""

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field

from earl.gate.top_k import top_entropy
from earl.ops import TokenStats
from earl.params import Params


class LightIfParams(Params):
    """`fraction` of each completion's tokens that train, 1 being plain cross-entropy; `entropy_weight` is c."""

    fraction: Annotated[float, Field(gt=0, le=1)] = 0.5
    entropy_weight: Annotated[float, Field(ge=0)] = 1.0


def light_if(stats: TokenStats, lengths: Sequence[int], params: LightIfParams) -> torch.Tensor:
    """-log p (N,) where a token is among the `num_selected` of its completion with the highest d, ties to the earlier
    one; else 0. Which tokens these are has no gradient."""
    surprise = -(stats.logprob + params.entropy_weight * stats.entropy).detach()
    selected = top_entropy(
        surprise,
        torch.tensor([0, *lengths], device=surprise.device).cumsum(0),
        torch.ones_like(surprise, dtype=torch.bool),
        fraction=params.fraction,
        scope="response",
        min_entropy=-math.inf,
    )
    return torch.where(selected, -stats.logprob, 0.0)


def num_selected(length: int, params: LightIfParams) -> int:
    """ceil(fraction * length), at least 1, as the selection counts."""
    return max(1, math.ceil(params.fraction * length - 1e-9))
