"""Attention over packed groups: without padding, with padding and with one dense mask it is the same."""

import pytest
import torch

from earl.group_attention import attend_padded, block_up
from earl.group_flash import flash_group_attention

GROUPS = [(5, [3, 0, 7]), (1, [2]), (4, [0, 0]), (33, [40, 1])]


def _dense(query, key, value, groups, scaling):
    total = query.shape[0]
    seen = torch.zeros(total, total, dtype=torch.bool)
    start = 0
    for prompt, lengths in groups:
        seen[start : start + prompt, start : start + prompt] = True
        at = start + prompt
        for length in lengths:
            seen[at : at + length, start : start + prompt] = True
            seen[at : at + length, at : at + length] = True
            at += length
        start = at
    share = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(share, 1), value.repeat_interleave(share, 1)
    scores = torch.einsum("qhd,khd->hqk", query, key) * scaling
    probs = scores.masked_fill(~(seen & torch.ones_like(seen).tril()), float("-inf")).softmax(-1)
    return torch.einsum("hqk,khd->qhd", probs, value)


def _padded(query, key, value, groups, scaling):
    tensors = (tensor.transpose(0, 1)[None] for tensor in (query, key, value))
    return attend_padded(*tensors, block_up(groups, query.device), scaling)[0]


@pytest.mark.parametrize("attend", [flash_group_attention, _padded])
@pytest.mark.parametrize("heads", [(4, 2, 8), (3, 3, 16), (9, 3, 64)])
def test_every_way_to_attend_gives_the_dense_masks_values_and_gradients(attend, heads):
    total = sum(prompt + sum(lengths) for prompt, lengths in GROUPS)
    generator = torch.Generator().manual_seed(0)
    leaves = [
        torch.randn(total, count, heads[2], generator=generator, dtype=torch.float64, requires_grad=True)
        for count in (heads[0], heads[1], heads[1])
    ]
    ours, theirs = (function(*leaves, GROUPS, 0.3) for function in (attend, _dense))
    torch.testing.assert_close(ours, theirs, atol=1e-10, rtol=1e-10)
    slope = torch.randn_like(theirs)
    got, wanted = (torch.autograd.grad(output, leaves, slope) for output in (ours, theirs))
    torch.testing.assert_close(got, wanted, atol=1e-10, rtol=1e-10)
