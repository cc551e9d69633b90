"""Samples that are handed over one by one as they finish, so that each can be kept and judged at once.

`EngineSampler` drives a `GenerationEngine` that answers in batches; an HTTP endpoint is a sampler of its own
(`hdl_bench.openai_engine`).
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from hdl_bench.types import Chat, Completion, GenerationEngine, Prompt, Sampling


@dataclass(frozen=True, kw_only=True, slots=True)
class Ask:
    """A problem's prompt, and which of its `num_samples` samples are still wanted (none: all are there)."""

    problem_id: str
    prompt: Prompt
    wanted: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampled:
    """One finished sample. Token counts are None where an endpoint does not tell them.

    Tokens that are only known for several samples together are counted with the first of them.
    """

    problem_id: str
    sample_idx: int
    text: str
    finish_reason: str
    num_prompt_tokens: int | None
    num_completion_tokens: int | None
    seed: int  # that the sample was drawn under


@dataclass(frozen=True, kw_only=True, slots=True)
class Listener:
    """Who takes the samples: `on_answers` keeps them for good before it returns; `should_stop` ends sampling early."""

    on_answers: Callable[[Sequence[Sampled]], None]
    should_stop: Callable[[], bool] = lambda: False


class Sampler(Protocol):
    """Draws samples for a whole benchmark."""

    def sent(self, prompt: Prompt) -> object:
        """What goes to the model for this prompt, exactly: a text, or a list of messages."""
        ...

    def trouble(self) -> str:
        """What went wrong so far and was tried again, for the person who waits; "" for nothing."""
        ...

    def sample(self, asks: Sequence[Ask], sampling: Sampling, listener: Listener) -> None:
        """Draw what is wanted. `asks` are all problems of the run, those that want nothing too."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplerPlan:
    """How a model is asked, and `open`, which loads or connects it."""

    is_chat: bool
    open: Callable[[], Sampler]


class EngineSampler:
    """Samples by way of an engine, chunk by chunk. `render` gives the text that the engine's model reads.

    A chunk is `max_rows` samples of successive problems, or all samples of one. Its seed depends on the run's seed and
    on its problems, and a chunk that is not complete is drawn again as a whole: a resumed run draws what an unbroken
    one draws.
    """

    def __init__(self, engine: GenerationEngine, *, render: Callable[[Prompt], str], max_rows: int) -> None:
        self._engine, self._render, self._max_rows = engine, render, max_rows

    def sent(self, prompt: Prompt) -> str:
        return self._render(prompt)

    def trouble(self) -> str:
        return ""

    def sample(self, asks: Sequence[Ask], sampling: Sampling, listener: Listener) -> None:
        """See `Sampler.sample`."""
        size = max(1, self._max_rows // sampling.num_samples)
        for start in range(0, len(asks), size):
            chunk = asks[start : start + size]
            if not any(ask.wanted for ask in chunk):
                continue
            if listener.should_stop():
                return
            seed = derived_seed(sampling.seed, [ask.problem_id for ask in chunk])
            groups = self._engine.generate([ask.prompt for ask in chunk], replace(sampling, seed=seed))
            listener.on_answers(
                [
                    _sampled(ask, index, group[index], seed)
                    for ask, group in zip(chunk, groups, strict=True)
                    for index in ask.wanted
                ]
            )


def _sampled(ask: Ask, index: int, completion: Completion, seed: int) -> Sampled:
    return Sampled(
        problem_id=ask.problem_id,
        sample_idx=index,
        text=completion.text,
        finish_reason=completion.finish_reason,
        num_prompt_tokens=len(completion.prompt_token_ids) if index == 0 else 0,
        num_completion_tokens=len(completion.token_ids),
        seed=seed,
    )


def derived_seed(seed: int, what: object) -> int:
    """A seed in [0, 2**31) for one part of a run: endpoints refuse larger ones."""
    digest = hashlib.sha256(json.dumps([seed, what], separators=(",", ":")).encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def as_text(prompt: Prompt) -> str:
    """A prompt as one text, the system line in front."""
    if isinstance(prompt, Chat):
        return f"{prompt.system}\n{prompt.user}" if prompt.system else prompt.user
    return prompt
