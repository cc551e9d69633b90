"""What supervised training learns from: prompts and completions, and those of them that are only measured."""

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earl.config import Config
from earl.data import Tell, guards, held_out_goldens, tell_nothing, tell_removed, warm_start_problems
from hdl_bench.overlap import Item
from hdl_bench.problem_source import SourceRow, read_rows
from toolchain.errors import UsageError
from verifiers.extract import extract
from verifiers.types import Problem

_COMPLETION_KEYS = ("completion", "solution", "golden")
_VALIDATION_SHARE = 0.1  # of a user's own examples, at most


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """A prompt as a problem has it (before any template) and the completion's exact text, without a stop token."""

    example_id: str
    prompt: str
    completion: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SftData:
    """Examples that train, and examples whose loss is only measured."""

    train: tuple[Example, ...]
    validation: tuple[Example, ...]

    @property
    def digests(self) -> list[list[str]]:
        """Name and hex digest of each example, in order; one that is only measured says so in its name."""
        named = [(example.example_id, example) for example in self.train]
        named += [(f"validation {example.example_id}", example) for example in self.validation]
        return [[name, _digest(example)] for name, example in named]


def _digest(example: Example) -> str:
    text = json.dumps([example.prompt, example.completion])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def sft_data(config: Config, tell: Tell = tell_nothing) -> SftData:
    """The examples of a config: rows of `sft.files`, or the goldens of [problems]; none that overlaps a benchmark.

    `tell` gets a line on what was left out.

    Raises:
        UsageError: a file that cannot be read, a row without prompt or completion, nothing left to learn from.
    """
    if config.sft.files:
        return split_validation(_own_examples(config, tell), config)
    return split_validation([_of_golden(problem) for problem in warm_start_problems(config, tell)], config)


def split_validation(examples: Sequence[Example], config: Config) -> SftData:
    """The examples with `sft.num_validation` others to measure: goldens of held-out problems where these are the user's
    own or problems are procedural; else, as nothing else is known to be like them, up to a tenth of the examples, by
    seed."""
    num = config.sft.num_validation
    if config.eval.files or not (config.sft.files or config.problems.files):
        goldens = [_of_golden(problem) for problem in held_out_goldens(config)[:num]]
        return SftData(train=tuple(examples), validation=tuple(goldens))
    num = min(num, int(len(examples) * _VALIDATION_SHARE))
    chosen = set(random.Random(f"{config.run.seed}:sft:validation").sample(range(len(examples)), num))
    return SftData(
        train=tuple(example for index, example in enumerate(examples) if index not in chosen),
        validation=tuple(example for index, example in enumerate(examples) if index in chosen),
    )


def _of_golden(problem: Problem) -> Example:
    assert problem.oracle.golden is not None, problem.problem_id
    return Example(example_id=problem.problem_id, prompt=problem.prompt, completion=problem.oracle.golden.strip("\n"))


def _own_examples(config: Config, tell: Tell) -> list[Example]:
    """At most `sft.num_examples` rows of the user's files, drawn by seed, in the files' order, without overlaps."""
    rows = [row for file in config.sft.files for row in read_rows(Path(file))]
    examples, removed, protected = [], [], guards(config)
    for row in rows:
        example, top_module = _of_row(row)
        code = extract(example.completion, top_module)
        item = Item(item_id=example.example_id, prompt=example.prompt, golden=code.text if code else "")
        overlap = next((found for guard in protected for found in guard.overlaps(item)), None)
        if overlap:
            removed.append(overlap)
        else:
            examples.append(example)
    tell_removed(removed, len(rows), "examples", tell)
    if not examples:
        raise UsageError(f"all {len(rows)} rows of sft.files overlap protected problems; nothing is left to learn from")
    if len(examples) > config.sft.num_examples:
        tell(f"{config.sft.num_examples} of {len(examples)} examples are used; raise sft.num_examples for more")
        chosen = random.Random(config.run.seed + 1_000_003).sample(range(len(examples)), config.sft.num_examples)
        examples = [examples[index] for index in sorted(chosen)]
    return examples


def _of_row(row: SourceRow) -> tuple[Example, str]:
    """The example of a row and its top module, "" where it names none. Chat messages are put together as texts."""
    if not isinstance(row.data, dict):
        raise UsageError(f"{row.where}: an example must be an object, got {row.data!r:.60}")
    key = next((key for key in _COMPLETION_KEYS if key in row.data), None)
    if key is None or "prompt" not in row.data:
        raise UsageError(
            f"{row.where}: an example needs 'prompt' and one of {', '.join(_COMPLETION_KEYS)}; got"
            f" {', '.join(map(str, row.data)) or 'no key'}"
        )
    prompt, completion = _text(row, "prompt"), _text(row, key)
    name = row.data.get("problem_id", row.data.get("id", row.default_id))
    return Example(example_id=str(name), prompt=prompt, completion=completion), str(row.data.get("top_module") or "")


def _text(row: SourceRow, key: str) -> str:
    value: Any = row.data[key]
    if isinstance(value, list) and value and all(isinstance(message, dict) for message in value):
        contents = [message.get("content") for message in value]
        value = "\n\n".join(contents) if all(isinstance(content, str) for content in contents) else None
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"{row.where}: the key {key!r} must be a text or chat messages, got {row.data[key]!r:.60}")
    return value
