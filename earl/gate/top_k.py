"""The top share by entropy of each response or of the batch: what the entropy gates share."""

import torch

from earl import ops


def top_entropy(
    entropies_N: torch.Tensor,
    row_offsets: torch.Tensor,
    eligible_N: torch.Tensor,
    *,
    fraction: float,
    scope: str,
    min_entropy: float,
) -> torch.Tensor:
    """The k = max(1, ceil(fraction * length)) eligible tokens of highest entropy, as a bool mask (N,).

    The length is that of the whole completion (or of the batch with scope "batch"), whatever is eligible; fewer than k
    are kept where fewer are eligible. Ties go to the earlier token; tokens under `min_entropy` nats are never kept.
    """
    if scope == "batch":
        row_offsets = row_offsets[[0, -1]]
    completion_mask_N = torch.ones_like(eligible_N)  # packed tokens are all of completions
    gate = ops.in_force().entropy_gate
    return gate(entropies_N, completion_mask_N, eligible_N, row_offsets, fraction, min_entropy)
