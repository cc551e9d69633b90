"""The project's own decode loop for Llama-architecture models.

What it does beyond transformers' loop: a prompt is prefilled once and its keys are shared by its whole group, the cache
is allocated once, projections are fused, and rows that have finished are dropped.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from earl.engine.llama import LlamaWeights, PromptCache, mlp, prefill, rotate
from earl.engine.sampling import RowRecord, choose_tokens, chunk_generator, chunk_prompts
from earl.policy import Policy
from hdl_bench.types import Completion, Prompt, Sampling

_COMPACT_BELOW = 0.9  # finished rows are dropped once fewer than this share of the rows is still alive


class DecodeEngine:
    """`GenerationEngine` with decoding copies of the weights: call `update_weights` after each optimiser step."""

    name = "decode"

    def __init__(self, policy: Policy, *, dtype: torch.dtype, max_rows: int) -> None:
        self._encoder, self._max_rows, self._policy_version = policy.encoder, max_rows, 0
        self._weights = LlamaWeights(policy.model, dtype)

    def update_weights(self, policy_version: int) -> None:
        self._policy_version = policy_version
        self._weights.update()

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[list[Completion]]:
        """See `hdl_bench.types.GenerationEngine.generate`."""
        prompt_ids = [self._encoder.encode_prompt(prompt) for prompt in prompts]
        results: list[list[Completion]] = [[] for _ in prompts]
        for number, chunk in enumerate(chunk_prompts(prompt_ids, sampling.num_samples, self._max_rows)):
            rows = _Rows(self._weights, [(prompt_ids[index], count) for index, count in chunk], sampling.max_tokens)
            rows.run(sampling, chunk_generator(sampling.seed, number), self._encoder.stop_token_ids)
            owners = [index for index, count in chunk for _ in range(count)]
            for index, record in zip(owners, rows.records, strict=True):
                results[index].append(record.to_completion(self._encoder, self._policy_version))
        return results


class _Rows:
    """The rows of one chunk: response caches, who is alive, and how rows lie in their groups."""

    def __init__(self, weights: LlamaWeights, groups: list[tuple[list[int], int]], max_tokens: int) -> None:
        self._weights = weights
        self.records = [RowRecord(prompt) for prompt, count in groups for _ in range(count)]
        self._alive = list(range(len(self.records)))  # row -> record
        self._hidden, self._prompts = prefill(weights, [prompt for prompt, _ in groups])
        device = self._hidden.device
        self._group_R = torch.tensor([g for g, (_, count) in enumerate(groups) for _ in range(count)], device=device)
        lengths = torch.tensor([len(prompt) for prompt, _ in groups], device=device)
        self._position_R = lengths[self._group_R]
        self._hidden = self._hidden[self._group_R]
        shape = (len(self.records), weights.num_kv_heads, max_tokens, weights.head_dim)
        self._keys = [torch.empty(shape, dtype=weights.dtype, device=device) for _ in weights.layers]
        self._values = [torch.empty(shape, dtype=weights.dtype, device=device) for _ in weights.layers]
        self._lay_out_groups()

    def run(self, sampling: Sampling, generator: torch.Generator, stop_token_ids: frozenset[int]) -> None:
        """Sample until every row has stopped or has `sampling.max_tokens` tokens."""
        for step in range(sampling.max_tokens):
            token_ids, logprobs, entropies = choose_tokens(self._weights.logits(self._hidden), sampling, generator)
            columns = zip(self._alive, token_ids.tolist(), logprobs.tolist(), entropies.tolist(), strict=True)
            for index, *values in columns:
                if not self.records[index].is_finished:
                    self.records[index].append(*values, stop_token_ids)
            going = [row for row, index in enumerate(self._alive) if not self.records[index].is_finished]
            if not going or step + 1 == sampling.max_tokens:
                return
            if len(going) < _COMPACT_BELOW * len(self._alive):
                token_ids = self._drop_finished(token_ids, going, step)
            self._hidden = self._advance(token_ids, step)

    def _lay_out_groups(self) -> None:
        """Place each row in a (group, slot) rectangle: a group's rows meet their prompt's keys in one product."""
        counts = torch.bincount(self._group_R, minlength=self._prompts.bias_PL.shape[0])
        starts = counts.cumsum(0) - counts
        slot_R = torch.arange(self._group_R.numel(), device=self._group_R.device) - starts[self._group_R]
        self._num_slots = int(counts.max())
        self._cell_R = self._group_R * self._num_slots + slot_R

    def _drop_finished(self, token_ids: torch.Tensor, going: list[int], step: int) -> torch.Tensor:
        keep = torch.tensor(going, device=token_ids.device)
        self._alive = [self._alive[row] for row in going]
        self._group_R, self._position_R = self._group_R[keep], self._position_R[keep]
        for cache in (self._keys, self._values):
            for number, tensor in enumerate(cache):
                tensor[: len(going), :, :step] = tensor[keep, :, :step]
                cache[number] = tensor[: len(going)]
        self._lay_out_groups()
        return token_ids[keep]

    def _advance(self, token_ids: torch.Tensor, step: int) -> torch.Tensor:
        """Feed the tokens sampled at `step`; returns the hidden state (R, H) that predicts the next ones."""
        weights = self._weights
        num_rows, dim, heads, heads_kv = len(self._alive), weights.head_dim, weights.num_heads, weights.num_kv_heads
        x = F.embedding(token_ids, weights.embedding)
        cos, sin = weights.rotary(self._position_R + step)
        cos, sin = cos[:, None], sin[:, None]  # (R, 1, D)
        for number, layer in enumerate(weights.layers):
            qkv = layer.qkv(weights.normed(x, layer.norm_1))
            qkv = qkv.view(num_rows, heads + 2 * heads_kv, dim)
            query_key = rotate(qkv[:, : heads + heads_kv], cos, sin)
            self._keys[number][:, :, step] = query_key[:, heads:]
            self._values[number][:, :, step] = qkv[:, heads + heads_kv :]
            query = query_key[:, :heads].reshape(num_rows, heads_kv, heads // heads_kv, dim)
            context = self._attend(query, number, step + 1)
            x = x + layer.out(context.view(num_rows, heads * dim))
            x = x + mlp(layer, weights.normed(x, layer.norm_2))
        return x

    def _attend(self, query: torch.Tensor, number: int, num_steps: int) -> torch.Tensor:
        """Attention of each row over its prompt (shared) and its own response. query: (R, heads_kv, share, D)."""
        prompts: PromptCache = self._prompts
        _, heads_kv, share, dim = query.shape
        num_prompts, longest = prompts.bias_PL.shape
        scale = dim**-0.5
        cells = num_prompts * self._num_slots
        spread = query.new_zeros((cells, heads_kv, share, dim))
        spread[self._cell_R] = query
        spread = spread.view(num_prompts, self._num_slots, heads_kv, share, dim).transpose(1, 2)
        spread = spread.reshape(num_prompts, heads_kv, self._num_slots * share, dim)
        on_prompt = torch.matmul(spread, prompts.keys[number])  # (P, heads_kv, slots * share, L)
        on_prompt = on_prompt.view(num_prompts, heads_kv, self._num_slots, share, longest).transpose(1, 2)
        on_prompt = on_prompt.reshape(cells, heads_kv, share, longest)[self._cell_R].float()
        on_response = torch.matmul(query, self._keys[number][:, :, :num_steps].transpose(2, 3)).float()
        on_prompt = on_prompt * scale + prompts.bias_PL[self._group_R][:, None, None]
        probs = torch.softmax(torch.cat([on_prompt, on_response * scale], dim=-1), dim=-1).to(query.dtype)
        spread = probs.new_zeros((cells, heads_kv, share, longest))
        spread[self._cell_R] = probs[..., :longest]
        spread = spread.view(num_prompts, self._num_slots, heads_kv, share, longest).transpose(1, 2)
        spread = spread.reshape(num_prompts, heads_kv, self._num_slots * share, longest)
        context = torch.matmul(spread, prompts.values[number])
        context = context.view(num_prompts, heads_kv, self._num_slots, share, dim).transpose(1, 2)
        context = context.reshape(cells, heads_kv, share, dim)[self._cell_R]
        return context + torch.matmul(probs[..., longest:], self._values[number][:, :, :num_steps])
