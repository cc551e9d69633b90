"""Attention over packed groups on a CPU, without padding, masks or copies of keys.

Each piece is a call of torch's flash attention on a view of the packed tokens: the prompt on itself (causal), all
responses of a group on the prompt (nothing masked), each response on itself (causal). A response's two pieces are
joined by their log-sum-exps; the backward pass gives each piece the joint output and log-sum-exp, which makes its
gradients exact. Shapes: _N packed tokens, _K heads, _D head width.
"""

import torch
from torch.autograd.function import once_differentiable

Groups = list[tuple[int, list[int]]]  # prompt length, fed length of each response; packed in that order

_forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def flash_group_attention(
    query_NKD: torch.Tensor, key: torch.Tensor, value: torch.Tensor, groups: Groups, scaling: float
) -> torch.Tensor:
    """Context (N, heads, D) of `query_NKD`; key and value (N, heads_kv, D)."""
    return _GroupAttention.apply(query_NKD, key, value, groups, scaling)


class _GroupAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, query, key, value, groups, scaling):
        context = torch.empty_like(query, memory_format=torch.contiguous_format)
        exact = torch.float64 if query.dtype == torch.float64 else torch.float32
        logsumexp = torch.empty(query.shape[:2], dtype=exact)
        for prompt, responses, alone in _spans(groups):
            context[prompt], logsumexp[prompt] = _run(query[prompt], key[prompt], value[prompt], True, scaling)
            if responses.stop == responses.start:
                continue
            for rows in alone:
                context[rows], logsumexp[rows] = _run(query[rows], key[rows], value[rows], True, scaling)
            on_prompt = _run(query[responses], key[prompt], value[prompt], False, scaling)
            _join(context[responses], logsumexp[responses], *on_prompt)
        ctx.save_for_backward(query, key, value, context, logsumexp)
        ctx.groups, ctx.scaling = groups, scaling
        return context

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_context):
        query, key, value, context, logsumexp = ctx.saved_tensors
        grads = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in (query, key, value)]

        def piece(rows: slice, seen: slice, is_causal: bool) -> tuple[torch.Tensor, ...]:
            of_rows = (grad_context[rows], query[rows])
            of_seen = (key[seen], value[seen])
            results = (context[rows], logsumexp[rows])
            tensors = [tensor.transpose(0, 1)[None] for tensor in (*of_rows, *of_seen, *results)]
            parts = _backward(*tensors, 0.0, is_causal, attn_mask=None, scale=ctx.scaling)
            return tuple(part[0].transpose(0, 1) for part in parts)

        for prompt, responses, alone in _spans(ctx.groups):
            for grad, part in zip(grads, piece(prompt, prompt, True), strict=True):
                grad[prompt] = part
            if responses.stop == responses.start:
                continue
            for rows in alone:
                for grad, part in zip(grads, piece(rows, rows, True), strict=True):
                    grad[rows] = part
            on_prompt = piece(responses, prompt, False)
            for grad, part, where in zip(grads, on_prompt, (responses, prompt, prompt), strict=True):
                grad[where] += part
        return *grads, None, None


def _spans(groups: Groups) -> list[tuple[slice, slice, list[slice]]]:
    """Of each group: the prompt's tokens, those of all responses, those of each response that feeds any."""
    spans, start = [], 0
    for prompt_length, lengths in groups:
        first = start + prompt_length
        alone, stop = [], first
        for length in lengths:
            if length:
                alone.append(slice(stop, stop + length))
            stop += length
        spans.append((slice(start, first), slice(first, stop), alone))
        start = stop
    return spans


def _run(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, is_causal: bool, scaling: float
) -> tuple[torch.Tensor, torch.Tensor]:
    tensors = [tensor.transpose(0, 1)[None] for tensor in (query, key, value)]
    out, logsumexp = _forward(*tensors, 0.0, is_causal, scale=scaling)
    return out[0].transpose(0, 1), logsumexp[0].transpose(0, 1)


def _join(
    context: torch.Tensor, logsumexp: torch.Tensor, other_context: torch.Tensor, other_logsumexp: torch.Tensor
) -> None:
    """Softmax over both sets of keys, in place, from the softmaxes over each."""
    share = torch.sigmoid(other_logsumexp - logsumexp).to(context.dtype)
    context.lerp_(other_context, share[..., None])
    torch.logaddexp(logsumexp, other_logsumexp, out=logsumexp)
