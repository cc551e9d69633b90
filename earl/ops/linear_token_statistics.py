"""Statistics of each token's law from hidden states: the head some rows at a time, all logits never stored."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from earl.ops.token_statistics import token_statistics, token_statistics_ref

_BLOCK_ELEMENTS = 1 << 23  # of logits at a time, 32 MB in fp32: a nucleus is sorted out of a whole row


@torch.no_grad()
def linear_token_statistics(  # noqa: PLR0913  (the head's parameters and the statistics')
    hidden: torch.Tensor,
    weight: torch.Tensor,
    targets: torch.Tensor,
    temperature: float = 1.0,
    *,
    names: Sequence[str],
    bias: torch.Tensor | None = None,
    positions: torch.Tensor | None = None,
    **parameters: float,
) -> dict[str, torch.Tensor]:
    """`token_statistics` of the logits `hidden` [N, H] @ `weight` [V, H]^T + `bias` [V]: [N] each, no gradient.

    With `positions` [P], indices of rows, only these rows are computed and the results are [P]; `targets` stays [N].
    Under autocast the head is multiplied in autocast's type. `parameters` are top_p and min_p. Raises as
    `token_statistics` does.
    """
    if positions is not None:
        hidden, targets = hidden[positions], targets[positions]
    device = hidden.device.type
    if torch.is_autocast_enabled(device):
        dtype = torch.get_autocast_dtype(device)
        hidden, weight, bias = hidden.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    num_rows = max(1, _BLOCK_ELEMENTS // weight.shape[0])
    # One buffer for all blocks: what is freed and taken again and again leaves holes that the next one does not fit in.
    buffer = hidden.new_empty(min(num_rows, hidden.shape[0]), weight.shape[0])
    parts = []
    for rows, row_targets in zip(hidden.split(num_rows), targets.split(num_rows), strict=True):
        logits = buffer[: rows.shape[0]]
        if bias is None:
            torch.mm(rows, weight.t(), out=logits)
        else:
            torch.addmm(bias, rows, weight.t(), out=logits)
        parts.append(token_statistics(logits, row_targets, temperature, names=names, **parameters))
    return {name: torch.cat([part[name] for part in parts]) for name in names}


@torch.no_grad()
def linear_token_statistics_ref(  # noqa: PLR0913  (as above)
    hidden: torch.Tensor,
    weight: torch.Tensor,
    targets: torch.Tensor,
    temperature: float = 1.0,
    *,
    names: Sequence[str],
    bias: torch.Tensor | None = None,
    positions: torch.Tensor | None = None,
    **parameters: float,
) -> dict[str, torch.Tensor]:
    """`linear_token_statistics` in plain torch: all logits at once."""
    if positions is not None:
        hidden, targets = hidden[positions], targets[positions]
    return token_statistics_ref(F.linear(hidden, weight, bias), targets, temperature, names=names, **parameters)
