"""Completions to read: a pass, a near miss and a failure of the first and the last step, token by token.

The log keeps token ids; a tokenizer splits the text into them again. Without one the text is shown plain.
"""

from dataclasses import dataclass
from typing import Any

from earl.printable import printable
from earl.report.run_data import Row, RunData, read_completions
from toolchain.errors import UsageError
from verifiers.types import Outcome, Problem

_FULL_SHADE_NATS = 2.0  # entropy at which a token's shade is full


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A token as the page shows it: `shade` in [0, 1]."""

    text: str
    shade: float
    is_open: bool  # the gate let the gradient through
    title: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A completion and its judgement. `spans` is None where the text could not be split into tokens."""

    kind: str
    row: Row
    text: str
    spans: list[Span] | None
    prompt: str | None
    golden: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenRow:
    """One token of the table of uncertain tokens."""

    text: str
    num_tokens: int
    mean_entropy: float
    open_rate: float


def load_tokenizer(run: RunData) -> Any | None:
    """A PromptEncoder with the tokenizer of the newest checkpoint, else of the warm start; None if there is none.

    Imports transformers, and through the encoder torch.
    """
    folders = [*sorted((run.path / "checkpoints").glob("step_*"), reverse=True), run.path / "sft" / "policy"]
    folders = [folder for folder in folders if (folder / "tokenizer_config.json").is_file()]
    if not folders:
        return None
    from transformers import AutoTokenizer

    from earl.policy import PromptEncoder

    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folders[0]))
    except (OSError, ValueError) as error:
        raise UsageError(f"the tokenizer in {folders[0]} does not load: {str(error).splitlines()[0]}") from error
    if tokenizer.eos_token_id is None:
        raise UsageError(f"the tokenizer in {folders[0]} has no eos token, so it is not the one that trained")
    return PromptEncoder(
        tokenizer=tokenizer, template=run.config.prompt.template, max_tokens=run.config.prompt.max_tokens
    )


def choose_samples(run: RunData, encoder: Any | None) -> list[Sample]:
    """Up to three completions of the first and of the last logged step."""
    ends = run.completion_files[:1] + run.completion_files[1:][-1:]
    problems = _problems(run)
    return [_sample(kind, row, encoder, problems) for file in ends for kind, row in _pick(read_completions(file))]


def _pick(rows: list[Row]) -> list[tuple[str, Row]]:
    """A pass, the mismatch of highest reward below it, and what earned least; those that were trained on first."""
    rows = sorted((row for row in rows if row["reward"] is not None), key=lambda row: "token_ids" not in row)
    passes = [row for row in rows if row["outcome"] == Outcome.PASSED]
    misses = [row for row in rows if row["outcome"] == Outcome.MISMATCH]
    picked = [("pass", passes[0])] if passes else []
    if misses:
        picked.append(("near miss", max(misses, key=lambda row: row["reward"])))
    failures = [
        row for row in rows if row["outcome"] != Outcome.PASSED and all(row is not taken for _, taken in picked)
    ]
    if failures:
        picked.append(("failure", min(failures, key=lambda row: row["reward"])))
    return picked


def _problems(run: RunData) -> dict[str, Problem]:
    """The run's problems by id, drawn again from its config: the log has their ids only."""
    from earl.data import training_problems

    try:
        return {problem.problem_id: problem for problem in training_problems(run.config)}
    except UsageError:  # families have changed since: the report then shows no prompt, and says so
        return {}


def _sample(kind: str, row: Row, encoder: Any | None, problems: dict[str, Problem]) -> Sample:
    problem = problems.get(row["problem_id"])
    return Sample(
        kind=kind,
        row=row,
        text=printable(row["text"]),
        spans=_spans(row, encoder) if encoder is not None and row.get("token_ids") else None,
        prompt=problem.prompt.strip() if problem else None,
        golden=problem.oracle.golden.strip() if problem else None,
    )


def _spans(row: Row, encoder: Any) -> list[Span]:
    from earl.token_class import STOP, token_spans

    offsets = token_spans(encoder, tuple(row["token_ids"]), row["text"])
    columns = zip(offsets, row["entropies"], row["classes"], row["gate"], strict=True)
    spans = []
    for (start, end), entropy, token_class, is_open in columns:
        text = printable(row["text"][start:end])
        # A line break has no width: where the gate was open, a sign makes it visible.
        text = "<end>" if token_class == STOP else text.replace("\n", "⏎\n") if is_open else text
        spans.append(
            Span(
                text=text,
                shade=min(1.0, entropy / _FULL_SHADE_NATS),
                is_open=bool(is_open),
                title=f"{token_class}, {entropy:.2f} nats" + (", gate open" if is_open else ""),
            )
        )
    return spans


def token_rows(stats: Any, encoder: Any, *, num_rows: int = 20) -> list[TokenRow]:
    """The most uncertain tokens among those that are not rare (seen five times, and once in two thousand tokens)."""
    min_count = max(5, stats.total.num_tokens // 2_000)
    return [
        TokenRow(
            text=printable(encoder.decode([token_id])).replace(" ", "␣").replace("\n", "⏎").replace("\t", "⇥"),
            num_tokens=tally.num_tokens,
            mean_entropy=tally.mean_entropy,
            open_rate=tally.open_rate,
        )
        for token_id, tally in stats.uncertain_tokens(num_tokens=num_rows, min_count=min_count)
    ]
