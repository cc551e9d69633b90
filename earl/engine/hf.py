"""Sampling with transformers' own forward and cache: any causal language model, no speed tricks.

One batch is left-padded; a row that has finished goes on unread until the batch ends.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from transformers import DynamicCache

from earl.engine.sampling import RowRecord, choose_tokens, chunk_prompts, row_uniforms
from earl.policy import Policy, head_weight, unusual_head
from hdl_bench.types import Completion, Prompt, Sampling
from toolchain.errors import UsageError


class HfEngine:
    """`GenerationEngine` over a transformers model, which it reads in place: new weights are seen at once."""

    name = "hf"

    def __init__(self, policy: Policy, *, dtype: torch.dtype, max_rows: int) -> None:
        self._model, self._encoder = policy.model, policy.encoder
        self._dtype, self._max_rows = dtype, max_rows
        self._policy_version = 0
        self._has_plain_head = not unusual_head(policy.model)
        if policy.model._is_stateful:  # transformers' word for a state in place of keys and values
            raise UsageError(f"{type(policy.model).__name__} has no attention; this engine cannot sample it: use vllm")
        accepted = inspect.signature(policy.model.forward).parameters
        self._cache_name = "cache" if "cache" in accepted else "past_key_values"  # by version of transformers
        self._inputs = [name for name in ("input_ids", "attention_mask", "position_ids") if name in accepted]
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in accepted else {}

    def update_weights(self, policy_version: int) -> None:
        self._policy_version = policy_version

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        on_completion: Callable[[int, int, Completion], None] | None = None,
    ) -> list[list[Completion]]:
        """See `hdl_bench.types.GenerationEngine.generate`.

        `on_completion(prompt, sample, completion)` is told of each completion as soon as it is finished, in any order.
        """
        prompt_ids = [self._encoder.encode_prompt(prompt) for prompt in prompts]
        results: list[list[Completion]] = [[] for _ in prompts]
        for chunk in chunk_prompts(prompt_ids, sampling.num_samples, self._max_rows):
            owners, uniforms = [], []
            for index, count in chunk:
                first = len(results[index])
                owners += [index] * count
                uniforms += [row_uniforms(sampling, index, sample) for sample in range(first, first + count)]
            records = [RowRecord(prompt_ids[index]) for index in owners]
            self._decode(records, sampling, torch.stack(uniforms, dim=1))
            for index, record in zip(owners, records, strict=True):
                results[index].append(record.to_completion(self._encoder, self._policy_version))
                if on_completion is not None:
                    on_completion(index, len(results[index]) - 1, results[index][-1])
        return results

    @torch.inference_mode()
    def _decode(self, records: list[RowRecord], sampling: Sampling, uniforms: torch.Tensor) -> None:
        device = self._model.device
        longest = max(len(record.prompt_token_ids) for record in records)
        pads = [longest - len(record.prompt_token_ids) for record in records]
        pad_id, stops = self._encoder.stop_token_id, self._encoder.stop_token_ids
        input_ids = torch.tensor([[pad_id] * pad + r.prompt_token_ids for pad, r in zip(pads, records, strict=True)])
        mask = torch.tensor([[0] * pad + [1] * (longest - pad) for pad in pads])
        input_ids, mask = input_ids.to(device), mask.to(device)
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
        cache = DynamicCache(config=self._model.config)
        for step in range(sampling.max_tokens):
            with torch.autocast(device.type, dtype=self._dtype, enabled=self._dtype != torch.float32):
                inputs = {"input_ids": input_ids, "attention_mask": mask, "position_ids": positions}
                logits = self._logits({name: inputs[name] for name in self._inputs}, cache)
            token_ids, logprobs, entropies = choose_tokens(logits, sampling, uniforms[step])
            for record, *values in zip(records, token_ids.tolist(), logprobs.tolist(), entropies.tolist(), strict=True):
                if not record.is_finished:
                    record.append(*values, stops)
            if all(record.is_finished for record in records):
                return
            input_ids = token_ids[:, None]
            positions = positions[:, -1:] + 1
            mask = torch.cat([mask, mask.new_ones((len(records), 1))], dim=1)

    def _logits(self, inputs: dict[str, Any], cache: DynamicCache) -> torch.Tensor:
        """Logits (R, V) of the next tokens. A plain head is applied in the weights' own precision, as in training."""
        inputs = {**inputs, self._cache_name: cache, "use_cache": True}
        if not self._has_plain_head:
            output = self._model(**inputs, **self._last_only)
            return output.logits[:, -1]
        hidden = self._model.base_model(**inputs).last_hidden_state
        weight = head_weight(self._model)
        with torch.autocast(weight.device.type, enabled=False):
            return F.linear(hidden[:, -1].to(weight.dtype), weight)
