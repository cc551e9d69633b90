"""Reads what the testbench printed and compares it with the golden's trace, outside any simulator.

A golden bit that is x matches anything; x or z of the candidate matches a golden x only; a golden z needs a z. These
are VerilogEval's rules (`===` against the golden masked where it is x).
"""

from collections import Counter
from dataclasses import dataclass

from verifiers.stimulus import Stimulus
from verifiers.testbench import Testbench
from verifiers.types import FirstMismatch, OutputScore

_SHOWN_ROWS = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Trace:
    """Sampled outputs by name: `values[name][row]` is binary text (0, 1, x, z), the first digit the highest bit."""

    values: dict[str, tuple[str, ...]]
    num_rows: int


@dataclass(frozen=True, kw_only=True, slots=True)
class BrokenTrace:
    """Output that no complete and untouched run prints. `reason` says what is wrong with it."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """How a candidate's trace fares against the golden's. A sample is a scored row with a known golden bit."""

    num_samples: int
    num_mismatches: int
    outputs: tuple[OutputScore, ...]
    first_mismatch: FirstMismatch | None


def parse_trace(stdout: str, testbench: Testbench, num_rows: int) -> Trace | BrokenTrace:
    """The trace in a simulator's output, or why it is not one: each line must be the nonce's, in order, no other."""
    lines = stdout.split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    if len(lines) != num_rows + 1:
        return BrokenTrace(reason=f"{num_rows + 1} lines were expected of the run, {len(lines)} came")
    widths = [output.width for output in testbench.outputs]
    fields_by_row = []
    for row, line in enumerate(lines[:-1]):
        nonce, _, rest = line.partition(" ")
        number, *fields = rest.split(" ")
        if nonce != testbench.nonce or number != str(row) or [len(field) for field in fields] != widths:
            return BrokenTrace(reason=f"line {row + 1} of the run is not the testbench's")
        fields_by_row.append(fields)
    if lines[-1] != f"{testbench.nonce} end {num_rows}":
        return BrokenTrace(reason="the closing line of the run is missing")
    columns = zip(*fields_by_row, strict=True)
    names = (output.name for output in testbench.outputs)
    values = {name: tuple(column) for name, column in zip(names, columns, strict=True)}
    return Trace(values=values, num_rows=num_rows)


def compare(golden: Trace, candidate: Trace, stimulus: Stimulus) -> Comparison:
    """Compare two traces of one stimulus. Both must have all of its rows."""
    assert golden.num_rows == candidate.num_rows == len(stimulus.rows), (golden.num_rows, candidate.num_rows)
    first_row = stimulus.first_scored_row
    sampled_rows: set[int] = set()
    wrong_rows: set[int] = set()
    scores = []
    first: tuple[int, str] | None = None
    for name, expected in golden.values.items():
        got = candidate.values[name]
        samples = [row for row in range(first_row, golden.num_rows) if has_known_bit(expected[row])]
        wrong = [row for row in samples if not matches(expected[row], got[row])]
        sampled_rows.update(samples)
        wrong_rows.update(wrong)
        if wrong and (first is None or wrong[0] < first[0]):
            first = (wrong[0], name)
        constant_fraction = best_constant_fraction([expected[row] for row in samples])
        scores.append(
            OutputScore(
                name=name, num_samples=len(samples), num_mismatches=len(wrong), constant_fraction=constant_fraction
            )
        )
    return Comparison(
        num_samples=len(sampled_rows),
        num_mismatches=len(wrong_rows),
        outputs=tuple(scores),
        first_mismatch=_describe(first, golden, candidate, stimulus) if first else None,
    )


def has_known_bit(expected: str) -> bool:
    """Whether the golden says anything in this sample: a bit other than x."""
    return expected.strip("x") != ""


def matches(expected: str, got: str) -> bool:
    """Whether a candidate's value is right: equal in every bit that the golden does not leave open."""
    if "x" not in expected:
        return got == expected
    return all(e in ("x", g) for e, g in zip(expected, got, strict=True))


def best_constant_fraction(expected: list[str]) -> float:
    """The fraction of samples that the most frequent fully known golden value matches; 0 where none is."""
    counts = Counter(expected)
    known = [(count, value) for value, count in counts.items() if "x" not in value]
    if not known:
        return 0.0
    _, mode = max(known)
    return sum(count for value, count in counts.items() if matches(value, mode)) / len(expected)


def _describe(first: tuple[int, str], golden: Trace, candidate: Trace, stimulus: Stimulus) -> FirstMismatch:
    row, name = first
    shown = range(max(0, row - _SHOWN_ROWS + 1), row + 1)
    return FirstMismatch(
        row=row,
        output=name,
        expected=golden.values[name][row],
        got=candidate.values[name][row],
        inputs=tuple(stimulus.row_by_name(i) for i in shown),
    )
