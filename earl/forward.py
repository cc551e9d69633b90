"""From packed groups to hidden states and log-probs: the training pass.

A group is laid out as its prompt once, followed by its responses side by side: each response sees the prompt and
itself, at the positions it had when it was sampled. The head runs only on the rows that somebody asks for.
Shapes: _S positions of a laid-out group, _R rows asked for, _H hidden.
"""

import itertools
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial

import torch
from transformers import PreTrainedModel

from earl import ops
from earl.checkpointing import layers_run_again
from earl.group_attention import block_up, group_attention
from earl.llama_pass import is_supported, llama_hidden_states
from earl.ops import TokenStats
from earl.policy import head_weight


@dataclass(frozen=True, kw_only=True, slots=True)
class Sequences:
    """One prompt and the responses that follow it, as token ids."""

    prompt: Sequence[int]
    responses: tuple[Sequence[int], ...]

    @property
    def num_positions(self) -> int:
        """Laid-out length. The last token of a response predicts nothing, so it is not fed."""
        return len(self.prompt) + sum(len(response) - 1 for response in self.responses)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """A group as the model is fed: ids, positions, segments, and where each response token is predicted."""

    token_ids_S: torch.Tensor
    positions_S: torch.Tensor
    prompt_length: int
    fed_lengths: list[int]  # of the responses, in the order in which they follow the prompt
    predicted_at: torch.Tensor  # (number of response tokens,) index into S
    targets: torch.Tensor  # (number of response tokens,)

    def visible_SS(self) -> torch.Tensor:
        """Who sees whom: bool, [query, key]."""
        lengths = torch.tensor([self.prompt_length, *self.fed_lengths])
        segment_S = torch.arange(lengths.numel()).repeat_interleave(lengths)
        causal = torch.ones(segment_S.numel(), segment_S.numel(), dtype=torch.bool).tril()
        return causal & ((segment_S[:, None] == segment_S[None, :]) | (segment_S[None, :] == 0))


def lay_out(sequences: Sequences) -> Layout:
    """The shared-prompt layout. A group of one is plain causal attention."""
    prompt, responses = list(sequences.prompt), sequences.responses
    token_ids, positions = list(prompt), list(range(len(prompt)))
    predicted_at, targets = [], []
    for response in responses:
        start = len(token_ids)
        fed = list(response[:-1])
        predicted_at += [len(prompt) - 1, *range(start, start + len(fed))]
        targets += list(response)
        token_ids += fed
        positions += range(len(prompt), len(prompt) + len(fed))
    return Layout(
        token_ids_S=torch.tensor(token_ids),
        positions_S=torch.tensor(positions),
        prompt_length=len(prompt),
        fed_lengths=[len(response) - 1 for response in responses],
        predicted_at=torch.tensor(predicted_at),
        targets=torch.tensor(targets),
    )


def autocast(model: PreTrainedModel, dtype: torch.dtype) -> AbstractContextManager[None]:
    """Mixed precision for a pass over an fp32 model; a no-op for float32."""
    return torch.autocast(model.device.type, dtype=dtype, enabled=dtype != torch.float32)


def hidden_states(model: PreTrainedModel, layouts: list[Layout], rows: torch.Tensor | None = None) -> torch.Tensor:
    """Final hidden states (R, H) at the positions that predict `rows` of the layouts' response tokens; None is all.

    Layouts lie end to end in one row without padding where the model takes an attention function of ours.
    """
    rows = torch.arange(sum(layout.targets.numel() for layout in layouts)) if rows is None else rows
    if is_supported(model):
        return llama_hidden_states(
            model,
            torch.cat([layout.token_ids_S for layout in layouts]),
            torch.cat([layout.positions_S for layout in layouts]),
            [(layout.prompt_length, layout.fed_lengths) for layout in layouts],
            _packed_positions(layouts)[rows],
        )
    if type(model).is_backend_compatible():
        return _packed_hidden_states(model, layouts)[rows]
    return _padded_hidden_states(model, layouts)[rows]


def _packed_positions(layouts: list[Layout]) -> torch.Tensor:
    """Where each response token is predicted, the layouts lying end to end."""
    starts = itertools.accumulate((layout.token_ids_S.numel() for layout in layouts), initial=0)
    return torch.cat([start + layout.predicted_at for start, layout in zip(starts, layouts, strict=False)])


def _packed_hidden_states(model: PreTrainedModel, layouts: list[Layout]) -> torch.Tensor:
    device = model.device
    with group_attention(model), layers_run_again(model, partial(group_attention, model)):
        output = model.base_model(
            input_ids=torch.cat([layout.token_ids_S for layout in layouts])[None].to(device),
            position_ids=torch.cat([layout.positions_S for layout in layouts])[None].to(device),
            blocks=block_up([(layout.prompt_length, layout.fed_lengths) for layout in layouts], device),
            use_cache=False,
        )
    return output.last_hidden_state[0, _packed_positions(layouts).to(device)]


def _padded_hidden_states(model: PreTrainedModel, layouts: list[Layout]) -> torch.Tensor:
    device = model.device
    longest = max(layout.token_ids_S.numel() for layout in layouts)
    token_ids = torch.zeros(len(layouts), longest, dtype=torch.int64)
    positions = torch.zeros(len(layouts), longest, dtype=torch.int64)
    # Padding sees itself, so that no softmax runs over nothing.
    visible = torch.eye(longest, dtype=torch.bool).repeat(len(layouts), 1, 1)
    index = []
    for number, layout in enumerate(layouts):
        size = layout.token_ids_S.numel()
        token_ids[number, :size] = layout.token_ids_S
        positions[number, :size] = layout.positions_S
        visible[number, :size, :size] = layout.visible_SS()
        index.append(number * longest + layout.predicted_at)
    with layers_run_again(model):
        output = model.base_model(
            input_ids=token_ids.to(device),
            attention_mask=visible[:, None].to(device),
            position_ids=positions.to(device),
            use_cache=False,
        )
    return output.last_hidden_state.flatten(0, 1)[torch.cat(index).to(device)]


def token_stats(
    model: PreTrainedModel,
    layouts: list[Layout],
    *,
    temperature: float,
    dtype: torch.dtype,
    rows: torch.Tensor | None = None,
    head_dtype: torch.dtype = torch.float32,
) -> TokenStats:
    """Log-prob, entropy (nats) and logsumexp of softmax(logits / temperature) at the response tokens, fp32.

    `rows` picks among the response tokens of the layouts, in order; None is all of them. The head sees only these. It
    multiplies in fp32 unless told otherwise: bf16 rounds a logit of 20 to steps of 0.125, so that sampler and trainer
    would differ by one or two of them.
    """
    with autocast(model, dtype):
        hidden_RH = hidden_states(model, layouts, rows)
    targets = torch.cat([layout.targets for layout in layouts]).to(model.device)
    if rows is not None:
        targets = targets[rows]
    weight_VH = head_weight(model)
    with autocast(model, head_dtype):
        return ops.in_force().linear_token_logprob_entropy(
            hidden_RH.to(weight_VH.dtype), weight_VH, targets, temperature
        )


def micro_batches(sizes: list[int], max_tokens: int) -> list[list[int]]:
    """Indices in batches whose padded size (count times longest) stays within `max_tokens`; one may exceed it alone."""
    order = sorted(range(len(sizes)), key=lambda index: (sizes[index], index))
    batches: list[list[int]] = []
    for index in order:
        if batches and (len(batches[-1]) + 1) * sizes[index] <= max_tokens:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches
