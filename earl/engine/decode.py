"""The project's own decode loop for Llama-architecture models.

What it does beyond transformers' loop: a prompt is prefilled once and its keys are shared by its whole group, the cache
is allocated once, projections are fused, and a row that has finished gives its place to the next one that waits.
"""

from collections import deque
from collections.abc import Callable, Sequence

import torch

from earl.engine.decode_ops import CACHE_MULTIPLE, LayerCache, Places, decode_attention
from earl.engine.llama import LlamaWeights, prefill
from earl.engine.sampling import RowRecord, choose_tokens, row_uniforms
from earl.policy import Policy
from hdl_bench.types import Completion, Prompt, Sampling

_ADMIT_SHARE = 0.125  # waiting rows are let in once this share of the places is free: a prefill of one is slow


class DecodeEngine:
    """`GenerationEngine` that lays out the policy's weights at the start of each call and drops them at its end."""

    name = "decode"

    def __init__(self, policy: Policy, *, dtype: torch.dtype, max_rows: int) -> None:
        self._policy, self._dtype, self._max_rows = policy, dtype, max_rows
        self._policy_version = 0

    def update_weights(self, policy_version: int) -> None:
        self._policy_version = policy_version

    @torch.inference_mode()
    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        on_completion: Callable[[int, int, Completion], None] | None = None,
    ) -> list[list[Completion]]:
        """See `hdl_bench.types.GenerationEngine.generate`.

        `on_completion(prompt, sample, completion)` is told of each completion as soon as it is finished, in any order.
        """
        encoder = self._policy.encoder
        prompt_ids = [encoder.encode_prompt(prompt) for prompt in prompts]
        results: list[list[Completion | None]] = [[None] * sampling.num_samples for _ in prompts]

        def finish(index: int, sample: int, record: RowRecord) -> None:
            completion = record.to_completion(encoder, self._policy_version)
            results[index][sample] = completion
            if on_completion is not None:
                on_completion(index, sample, completion)

        if not prompts:
            return []
        weights = LlamaWeights(self._policy.model, self._dtype)
        _Rows(weights, prompt_ids, sampling, self._max_rows).run(encoder.stop_token_ids, finish)
        return results


class _Rows:
    """The rows side by side and their caches. Rows are dense: the last ones move into places that become free."""

    def __init__(self, weights: LlamaWeights, prompt_ids: list[list[int]], sampling: Sampling, max_rows: int) -> None:
        self._weights, self._prompt_ids, self._sampling = weights, prompt_ids, sampling
        self._device = weights.embedding.device
        # Similar lengths together, so that a chunk of rows that ends together is refilled together.
        order = sorted(range(len(prompt_ids)), key=lambda index: (len(prompt_ids[index]), index))
        self._waiting = deque((index, sample) for index in order for sample in range(sampling.num_samples))
        self._num_places = min(max_rows, len(self._waiting))
        num_prompts = min(len(prompt_ids), self._num_places)  # more prompts are never under way at once
        self._caches = self._empty_caches(num_prompts, max(map(len, prompt_ids)))
        self._prompt_lengths = torch.zeros(num_prompts, dtype=torch.int64, device=self._device)
        self._last_hidden = weights.embedding.new_zeros((num_prompts, weights.embedding.shape[1]))  # of each prompt
        self._free_slots = list(range(num_prompts))[::-1]
        self._slot_of: dict[int, int] = {}  # prompt under way -> its slot
        self._alive: list[tuple[int, int, RowRecord]] = []  # by place: prompt, sample, record
        self._uniforms = torch.empty((self._num_places, sampling.max_tokens), dtype=torch.float64)

    def run(self, stop_token_ids: frozenset[int], finish: Callable[[int, int, RowRecord], None]) -> None:
        """Sample until every row has stopped or has `sampling.max_tokens` tokens."""
        hidden = self._admit()
        while self._alive:
            tokens, logprobs, entropies = self._choose(hidden)
            columns = zip(self._alive, tokens.tolist(), logprobs.tolist(), entropies.tolist(), strict=True)
            for (_, _, record), *values in columns:
                record.append(*values, stop_token_ids)
            tokens = self._drop_finished(tokens, finish)
            parts = [self._advance(tokens)] if self._alive else []
            if self._waiting and self._num_places - len(self._alive) >= _ADMIT_SHARE * self._num_places:
                parts.append(self._admit())
            if parts:
                hidden = torch.cat(parts)

    def _empty_caches(self, num_prompts: int, longest_prompt: int) -> list[LayerCache]:
        weights = self._weights
        heads, dim = weights.num_kv_heads, weights.head_dim
        of_prompts, of_rows = _rounded_up(longest_prompt), _rounded_up(self._sampling.max_tokens)

        def empty(*shape: int) -> torch.Tensor:
            return torch.empty(shape, dtype=weights.dtype, device=self._device)

        return [
            LayerCache(
                prompt_keys=empty(num_prompts, heads, dim, of_prompts),
                prompt_values=empty(num_prompts, heads, of_prompts, dim),
                keys=empty(self._num_places, heads, dim, of_rows),
                values=empty(self._num_places, heads, of_rows, dim),
            )
            for _ in weights.layers
        ]

    def _choose(self, hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        steps = torch.tensor([len(record.token_ids) for _, _, record in self._alive])
        uniforms = self._uniforms[torch.arange(len(self._alive)), steps]
        return choose_tokens(self._weights.logits(hidden), self._sampling, uniforms)

    def _admit(self) -> torch.Tensor:
        """Let waiting rows in while there is room. Returns the hidden state that predicts the first token of each."""
        first = len(self._alive)
        new: list[int] = []
        while self._waiting and len(self._alive) < self._num_places:
            index, sample = self._waiting.popleft()
            if index not in self._slot_of:
                self._slot_of[index] = self._free_slots.pop()
                new.append(index)
            record = RowRecord(self._prompt_ids[index])
            self._uniforms[len(self._alive)] = row_uniforms(self._sampling, index, sample)
            self._alive.append((index, sample, record))
        if new:
            self._prefill(new)
        slots = [self._slot_of[index] for index, _, _ in self._alive[first:]]
        return self._last_hidden[slots]

    def _prefill(self, indices: list[int]) -> None:
        prompts = [self._prompt_ids[index] for index in indices]
        slots = [self._slot_of[index] for index in indices]

        def keep(number: int, keys: torch.Tensor, values: torch.Tensor) -> None:
            cache, start = self._caches[number], 0
            for slot, prompt in zip(slots, prompts, strict=True):
                span = slice(start, start + len(prompt))
                cache.prompt_keys[slot, :, :, : len(prompt)] = keys[span].permute(1, 2, 0)
                cache.prompt_values[slot, :, : len(prompt)] = values[span].transpose(0, 1)
                start = span.stop

        hidden = prefill(self._weights, prompts, keep)
        self._last_hidden[slots] = hidden
        self._prompt_lengths[slots] = torch.tensor([len(prompt) for prompt in prompts], device=self._device)

    def _drop_finished(self, tokens: torch.Tensor, finish: Callable[[int, int, RowRecord], None]) -> torch.Tensor:
        """Hand over rows that have ended, fill their places with the last rows; returns the others' tokens in place."""
        limit = self._sampling.max_tokens
        ended = [
            place
            for place, (_, _, record) in enumerate(self._alive)
            if record.is_finished or len(record.token_ids) == limit
        ]
        if not ended:
            return tokens
        for place in ended:
            finish(*self._alive[place])
        num_left = len(self._alive) - len(ended)
        gone = set(ended)
        sources = [place for place in range(num_left, len(self._alive)) if place not in gone]
        holes = [place for place in ended if place < num_left]
        tokens[holes] = tokens[sources]
        self._uniforms[holes] = self._uniforms[sources]
        for source, hole in zip(sources, holes, strict=True):
            length = len(self._alive[source][2].token_ids)
            for cache in self._caches:
                cache.keys[hole, :, :, :length] = cache.keys[source, :, :, :length]
                cache.values[hole, :, :length] = cache.values[source, :, :length]
            self._alive[hole] = self._alive[source]
        del self._alive[num_left:]
        under_way = {index for index, _, _ in self._alive}
        if self._waiting:
            under_way.add(self._waiting[0][0])
        for index in [index for index in self._slot_of if index not in under_way]:
            self._free_slots.append(self._slot_of.pop(index))
        return tokens[:num_left]

    def _advance(self, tokens: torch.Tensor) -> torch.Tensor:
        """Feed the tokens just sampled, one a row; returns the hidden state (R, H) that predicts the next ones."""
        lengths = torch.tensor([len(record.token_ids) - 1 for _, _, record in self._alive], device=self._device)
        group = torch.tensor([self._slot_of[index] for index, _, _ in self._alive], device=self._device)
        cos, sin = self._weights.rotary(self._prompt_lengths[group] + lengths)
        places = Places(prompt_lengths=self._prompt_lengths, group=group, lengths=lengths, cos=cos, sin=sin)
        return self._weights.run(tokens, lambda number, qkv: decode_attention(qkv, self._caches[number], places))


def _rounded_up(positions: int) -> int:
    return -(-positions // CACHE_MULTIPLE) * CACHE_MULTIPLE
