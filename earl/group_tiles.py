"""Attention over packed groups in bf16 on a CPU that multiplies bf16: our kernel, one call a group.

It sums scores in fp32 as torch's flash attention does and is several times as fast on the short responses of a group
(`benchmarks/group_attention.py`). For everything else there is `earl.group_flash`, which says what it computes.
"""

import torch
from torch.autograd.function import once_differentiable

from earl.group_flash import Groups, flash_group_attention
from earl.layer_ops import is_compiled_for

_WIDTH_MULTIPLE = 16


def attend_groups(
    query_NKD: torch.Tensor, key: torch.Tensor, value: torch.Tensor, groups: Groups, scaling: float
) -> torch.Tensor:
    """Context (N, heads, D) of `query_NKD`; key and value (N, heads_kv, D)."""
    if has_kernel(query_NKD):
        return _TiledAttention.apply(query_NKD, key, value, groups, scaling)
    return flash_group_attention(query_NKD, key, value, groups, scaling)


def has_kernel(query: torch.Tensor) -> bool:
    """Whether `attend_groups` takes our kernel for such queries (N, heads, D)."""
    return (
        query.dtype == torch.bfloat16
        and is_compiled_for(query)
        and query.shape[2] % _WIDTH_MULTIPLE == 0
        and torch.backends.cpu.get_cpu_capability() == "AVX512"
        and torch.ops.earl.cpu_multiplies(torch.bfloat16)
    )


class _TiledAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, query, key, value, groups, scaling):
        query, key, value = (tensor if tensor.stride(2) == 1 else tensor.contiguous() for tensor in (query, key, value))
        parts = [
            torch.ops.earl.group_attention(query[span], key[span], value[span], lengths, scaling)
            for span, lengths in _spans(groups)
        ]
        context, logsumexp = parts[0] if len(parts) == 1 else map(torch.cat, zip(*parts, strict=True))
        ctx.save_for_backward(query, key, value, context, logsumexp)
        ctx.groups, ctx.scaling = groups, scaling
        return context

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_context):
        tensors = (grad_context, *ctx.saved_tensors)
        parts = [
            torch.ops.earl.group_attention_backward(*(tensor[span] for tensor in tensors), lengths, ctx.scaling)
            for span, lengths in _spans(ctx.groups)
        ]
        grads = parts[0] if len(parts) == 1 else map(torch.cat, zip(*parts, strict=True))
        return *grads, None, None


def _spans(groups: Groups) -> list[tuple[slice, list[int]]]:
    """Of each group: its tokens, and how many are the prompt's and each response's."""
    spans, start = [], 0
    for prompt_length, lengths in groups:
        stop = start + prompt_length + sum(lengths)
        spans.append((slice(start, stop), [prompt_length, *lengths]))
        start = stop
    return spans
