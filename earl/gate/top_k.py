"""Exact top-k by entropy per response or over the batch: what the entropy gates share.

Not a quantile: with many entropies of exactly 0, common in deterministic RTL, a quantile threshold of 0 lets every
token through. Ties go to the earlier token.
"""

import torch


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
    are kept where fewer are eligible. Tokens under `min_entropy` nats are never kept.
    """
    if scope == "batch":
        row_offsets = row_offsets[[0, -1]]
    lengths_B = row_offsets.diff()
    assert int(lengths_B.sum()) == entropies_N.numel(), (row_offsets, entropies_N.shape)
    # The slack keeps 0.07 * 100 = 7.000000000000001 at 7.
    kept_B = (lengths_B.double() * fraction - 1e-9).ceil().clamp(min=1).long()
    response_N = torch.repeat_interleave(torch.arange(lengths_B.numel(), device=lengths_B.device), lengths_B)
    scores_N = entropies_N.float().masked_fill(~eligible_N, float("-inf"))
    # Two stable sorts: by score, then by response; what remains in a response is in order of score, then position.
    by_score = scores_N.argsort(descending=True, stable=True)
    order = by_score[response_N[by_score].argsort(stable=True)]
    rank_N = torch.empty_like(order)
    rank_N[order] = torch.arange(order.numel(), device=order.device) - row_offsets[:-1][response_N]
    return (rank_N < kept_B[response_N]) & eligible_N & (entropies_N >= min_entropy)
