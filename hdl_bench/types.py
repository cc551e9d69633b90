"""What a sampler gives and takes. Torch-free, so that an evaluation over an HTTP endpoint needs no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class Chat:
    """A prompt for a model that is talked to: a system line ("" for none) and what the user says."""

    system: str
    user: str

    def messages(self) -> list[dict[str, str]]:
        """As chat templates and HTTP endpoints take it."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        return [*system, {"role": "user", "content": self.user}]


Prompt = str | Chat  # a text is gone on from, a chat is answered


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    """How to sample. Temperature 0 is greedy. top_p is for evaluation only: training refuses it."""

    num_samples: int = 1
    max_tokens: int = 256
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Completion:
    """One sampled answer. `logprobs` and `entropies` (nats) are of softmax(logits / temperature) in fp32, per token."""

    prompt_token_ids: tuple[int, ...]
    token_ids: tuple[int, ...]  # includes the stop token when finish_reason is "stop"
    logprobs: tuple[float, ...]
    entropies: tuple[float, ...]
    text: str  # decoded, without the stop token
    finish_reason: str  # "stop" | "length", or what an endpoint said
    policy_version: int = 0


class GenerationEngine(Protocol):
    """A sampler: transformers, our decode loop, vLLM, an HTTP endpoint."""

    def generate(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[list[Completion]]:
        """One list of `sampling.num_samples` completions a prompt, in order. Equal seed, equal completions."""
        ...

    def update_weights(self, policy_version: int) -> None:
        """Take over the policy's weights as they are now. Engines that cannot raise `UsageError`."""
        ...
