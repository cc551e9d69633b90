"""Attention over packed groups: each response sees its prompt and itself, nothing is computed across responses.

The rest of the model works row by row, so groups of any size lie end to end in one row of tokens, without padding.
On a CPU the attention needs none either (`earl.group_tiles`). Elsewhere groups are padded for the attention alone,
prompts and responses apart, as transformers' attention interface allows.
Shapes: _N packed tokens, _P prompts by longest prompt, _R responses by longest response, D head width.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from transformers import AttentionInterface, PreTrainedModel

from earl.group_flash import Groups
from earl.group_tiles import attend_groups
from toolchain.errors import UsageError

NAME = "earl_group"


@dataclass(frozen=True, kw_only=True, slots=True)
class Blocks:
    """Where packed tokens lie in the padded blocks, and who sees whom in them."""

    slots: torch.Tensor  # (P * Lp + R * Lr,) token of each slot; 0 for padding
    slot_of_N: torch.Tensor  # the inverse
    is_padding: torch.Tensor  # bool, like `slots`
    prompt_shape: tuple[int, int]  # P, Lp
    response_shape: tuple[int, int]  # R, Lr
    prompt_of_R: torch.Tensor
    prompt_visible: torch.Tensor  # (P, 1, Lp, Lp) bool, [query, key]
    response_visible: torch.Tensor  # (R, 1, Lr, Lp + Lr) bool
    longest: int  # positions of the longest prompt and response together
    groups: Groups


def block_up(groups: Groups, device: torch.device) -> Blocks:
    """The blocks of groups packed end to end."""
    prompt_lengths = torch.tensor([length for length, _ in groups])
    response_lengths = torch.tensor([length for _, lengths in groups for length in lengths])
    prompt_of_R = torch.tensor([number for number, (_, lengths) in enumerate(groups) for _ in lengths])
    starts = torch.tensor([0, *(length for prompt, lengths in groups for length in (prompt, *lengths))]).cumsum(0)
    first = [sum(1 + len(lengths) for _, lengths in groups[:number]) for number in range(len(groups))]
    is_prompt = torch.zeros(starts.numel() - 1, dtype=torch.bool)
    is_prompt[first] = True
    tables = [
        _table(starts[:-1][is_prompt], prompt_lengths),
        _table(starts[:-1][~is_prompt], response_lengths),
    ]
    slots = torch.cat([table.flatten() for table in tables])
    is_padding = slots < 0
    slot_of_N = torch.empty(int(starts[-1]), dtype=torch.int64)
    slot_of_N[slots[~is_padding]] = torch.nonzero(~is_padding).squeeze(1)
    (_, longest_prompt), (num_responses, longest_response) = (table.shape for table in tables)
    sees_prompt = torch.arange(longest_prompt) < prompt_lengths[prompt_of_R][:, None]  # (R, Lp)
    sees_prompt = sees_prompt[:, None].expand(num_responses, longest_response, longest_prompt)
    sees_itself = _causal(longest_response).expand(num_responses, -1, -1)
    return Blocks(
        slots=slots.clamp(min=0).to(device),
        slot_of_N=slot_of_N.to(device),
        is_padding=is_padding.to(device),
        prompt_shape=tuple(tables[0].shape),
        response_shape=tuple(tables[1].shape),
        prompt_of_R=prompt_of_R.to(device),
        prompt_visible=_causal(longest_prompt).expand(len(groups), 1, -1, -1).to(device),
        response_visible=torch.cat([sees_prompt, sees_itself], dim=2)[:, None].to(device),
        longest=longest_prompt + longest_response,
        groups=groups,
    )


def _causal(size: int) -> torch.Tensor:
    return torch.ones(size, size, dtype=torch.bool).tril()


def _table(starts: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """(rows, longest) token numbers, -1 for padding."""
    columns = torch.arange(max(1, int(lengths.max())))  # one column even where no token is fed
    return torch.where(columns < lengths[:, None], starts[:, None] + columns, -1)


@contextmanager
def group_attention(model: PreTrainedModel) -> Iterator[None]:
    """The model attends by blocks within; pass it `blocks=`. Not for several threads on one model."""
    before = model.config._attn_implementation
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def attend(  # noqa: PLR0913  (transformers' signature)
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    blocks: Blocks,
    scaling: float,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    **_ignored: object,  # transformers hands every attention function all that any of them may want
) -> tuple[torch.Tensor, None]:
    """Attention in transformers' interface: query (1, heads, N, D) -> (1, N, heads, D); key and value have heads_kv.

    Raises UsageError for what blocks do not hold: a sliding window that is reached, capped scores, dropout.
    """
    if softcap is not None or dropout or (sliding_window is not None and blocks.longest > sliding_window):
        raise UsageError(
            f"this model's attention (softcap {softcap}, dropout {dropout}, window {sliding_window} for "
            f"{blocks.longest} positions) does not fit packed groups; shorten prompts and responses, or choose another"
        )
    if query.device.type == "cpu":
        # Under autocast a model's rotation leaves queries and keys in fp32.
        tensors = (tensor[0].transpose(0, 1).to(value.dtype) for tensor in (query, key, value))
        return attend_groups(*tensors, blocks.groups, scaling)[None], None
    return attend_padded(query, key, value, blocks, scaling), None


def attend_padded(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, blocks: Blocks, scaling: float
) -> torch.Tensor:
    """`attend` on any device: prompts and responses padded to blocks, with masks."""
    query, key, value = (_padded(tensor[0].transpose(0, 1), blocks) for tensor in (query, key, value))
    num_prompt_slots = blocks.prompt_shape[0] * blocks.prompt_shape[1]
    prompts = [_block(tensor[:num_prompt_slots], blocks.prompt_shape) for tensor in (query, key, value)]
    responses = [_block(tensor[num_prompt_slots:], blocks.response_shape) for tensor in (query, key, value)]
    of_prompts = _attend_block(*prompts, blocks.prompt_visible, scaling)
    seen = (
        torch.cat([prompt[blocks.prompt_of_R], response], dim=2)
        for prompt, response in zip(prompts[1:], responses[1:], strict=True)
    )
    of_responses = _attend_block(responses[0], *seen, blocks.response_visible, scaling)
    slots = torch.cat([block.transpose(1, 2).flatten(0, 1) for block in (of_prompts, of_responses)])
    return _Move.apply(slots, blocks.slot_of_N, blocks.slots, blocks.is_padding)[None]


def _padded(tokens: torch.Tensor, blocks: Blocks) -> torch.Tensor:
    return _Move.apply(tokens, blocks.slots, blocks.slot_of_N, None)


def _block(slots: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """(slots, heads, D) -> (rows, heads, length, D)."""
    return slots.view(*shape, *slots.shape[1:]).transpose(1, 2)


def _attend_block(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, visible: torch.Tensor, scaling: float
) -> torch.Tensor:
    """Masked attention. Heads that share keys are laid side by side as queries, so that no key is copied."""
    rows, heads, length, dim = query.shape
    share = heads // key.shape[1]
    folded = query.reshape(rows, key.shape[1], share * length, dim)
    context = F.scaled_dot_product_attention(
        folded, key, value, attn_mask=visible.repeat(1, 1, share, 1), scale=scaling
    )
    return context.view(rows, heads, length, dim)


class _Move(torch.autograd.Function):
    """`source[index]`, whose backward is a gather too: each source row is taken once, besides for padding.

    `unread` marks the rows of source that nobody takes: `inverse` names some row for them, which is not theirs.
    """

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx,
        source: torch.Tensor,
        index: torch.Tensor,
        inverse: torch.Tensor,
        unread: torch.Tensor | None,
    ) -> torch.Tensor:
        ctx.save_for_backward(inverse, unread)
        return source.index_select(0, index)

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, gradient: torch.Tensor
    ) -> tuple[torch.Tensor, None, None, None]:
        inverse, unread = ctx.saved_tensors
        moved = gradient.index_select(0, inverse)
        if unread is not None:
            moved = moved.masked_fill_(unread.view(-1, *[1] * (moved.dim() - 1)), 0.0)
        return moved, None, None, None


AttentionInterface.register(NAME, attend)
