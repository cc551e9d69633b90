"""Exact top share by entropy, per response, on packed tokens.

Not a quantile: with many entropies of exactly 0, common in deterministic RTL, a quantile threshold of 0 lets every
token through. Ties go to the earlier token.
"""

import torch


def entropy_gate(
    entropy: torch.Tensor,
    completion_mask: torch.Tensor,
    eligible: torch.Tensor | None,
    row_offsets: torch.Tensor,
    fraction: float,
    min_entropy: float = 0.0,
) -> torch.Tensor:
    """Of each response the k = max(1, ceil(fraction * length)) eligible tokens of highest entropy, as a bool mask [N].

    Response b owns the tokens row_offsets[b]:row_offsets[b + 1] (int64 [B + 1]; [0, N] makes one budget of the batch).
    Its length counts `completion_mask` [N], whatever is `eligible` [N] (None: all of it); fewer than k are kept where
    fewer may be. Tokens under `min_entropy` nats are never kept, nor is a NaN, though both use up their place. All is
    compared in float32.
    Raises ValueError for shapes, offsets and fraction, TypeError for masks that are not bool.
    """
    return torch.ops.earl.entropy_gate(entropy, completion_mask, eligible, row_offsets, fraction, min_entropy)


def entropy_gate_ref(
    entropy: torch.Tensor,
    completion_mask: torch.Tensor,
    eligible: torch.Tensor | None,
    row_offsets: torch.Tensor,
    fraction: float,
    min_entropy: float = 0.0,
) -> torch.Tensor:
    """`entropy_gate` in plain torch, by two sorts of all tokens."""
    sizes_B = row_offsets.diff()
    assert int(sizes_B.sum()) == entropy.numel(), (row_offsets, entropy.shape)
    response_N = torch.repeat_interleave(torch.arange(sizes_B.numel(), device=entropy.device), sizes_B)
    lengths_B = torch.zeros_like(sizes_B).index_add_(0, response_N, completion_mask.long())
    # The slack keeps 0.07 * 100 = 7.000000000000001 at 7.
    kept_B = (lengths_B.double() * fraction - 1e-9).ceil().clamp(min=1).long()
    may_pass_N = completion_mask if eligible is None else completion_mask & eligible
    scores_N = entropy.float().masked_fill(~may_pass_N, float("-inf"))
    # Two stable sorts: by score, then by response; what remains in a response is in order of score, then position.
    by_score = scores_N.argsort(descending=True, stable=True)
    order = by_score[response_N[by_score].argsort(stable=True)]
    rank_N = torch.empty_like(order)
    rank_N[order] = torch.arange(order.numel(), device=order.device) - row_offsets[:-1][response_N]
    is_enough_N = entropy.float() >= torch.tensor(min_entropy, dtype=torch.float32)
    return (rank_N < kept_B[response_N]) & may_pass_N & is_enough_N


@torch.library.register_fake("earl::entropy_gate")
def _fake(entropy, completion_mask, eligible, row_offsets, fraction, min_entropy):
    return torch.empty_like(entropy, dtype=torch.bool, memory_format=torch.contiguous_format)
