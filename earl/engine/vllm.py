"""Sampling with vLLM, for evaluation: fast on a GPU, and it takes models that the other engines do not.

It reads a model once, from its folder or hub name, so it cannot follow a policy in training; log-probs and entropies
are not recorded.
"""

from collections.abc import Sequence

import torch
from vllm import LLM, SamplingParams

from earl.model_source import is_adapter, resolve_model
from earl.policy import PromptEncoder
from hdl_bench.types import Completion, Prompt, Sampling
from toolchain.errors import UsageError


class VllmEngine:
    """`GenerationEngine` over `vllm.LLM`. Equal seeds give equal completions on one machine and version of vLLM."""

    name = "vllm"

    def __init__(self, path: str, encoder: PromptEncoder, *, dtype: str) -> None:
        self._encoder = encoder
        if is_adapter(resolve_model(path)):
            raise UsageError(f"{path} is an adapter; write the whole model first: earl merge {path} FOLDER")
        # Compiling the model takes minutes on a CPU, and pays on a GPU only.
        is_eager = not torch.cuda.is_available()
        self._llm = LLM(model=resolve_model(path), dtype=dtype, enable_prefix_caching=True, enforce_eager=is_eager)

    def update_weights(self, policy_version: int) -> None:
        raise UsageError("vLLM cannot follow a policy in training here; set sampling.engine to auto, decode or hf")

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[list[Completion]]:
        """See `hdl_bench.types.GenerationEngine.generate`; log-probs and entropies are left empty."""
        prompt_ids = [self._encoder.encode_prompt(prompt) for prompt in prompts]
        params = SamplingParams(
            n=sampling.num_samples,
            temperature=sampling.temperature,
            top_p=sampling.top_p if sampling.temperature else 1.0,
            max_tokens=sampling.max_tokens,
            seed=sampling.seed,
            stop_token_ids=sorted(self._encoder.stop_token_ids),
            detokenize=False,
        )
        inputs = [{"prompt_token_ids": ids} for ids in prompt_ids]
        outputs = self._llm.generate(inputs, params, use_tqdm=False)
        return [
            [self._completion(ids, tuple(choice.token_ids)) for choice in sorted(output.outputs, key=lambda c: c.index)]
            for ids, output in zip(prompt_ids, outputs, strict=True)
        ]

    def _completion(self, prompt_ids: list[int], token_ids: tuple[int, ...]) -> Completion:
        is_finished = bool(token_ids) and token_ids[-1] in self._encoder.stop_token_ids
        shown = token_ids[:-1] if is_finished else token_ids
        return Completion(
            prompt_token_ids=tuple(prompt_ids),
            token_ids=token_ids,
            logprobs=(),
            entropies=(),
            text=self._encoder.decode(list(shown)),
            finish_reason="stop" if is_finished else "length",
        )
