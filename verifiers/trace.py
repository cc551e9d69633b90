"""Reads what the testbench printed and compares it with the golden's trace, outside any simulator.

A golden bit that is x matches anything; x or z of the candidate matches a golden x only; a golden z needs a z. These
are VerilogEval's rules (`===` against the golden masked where it is x). An output that the golden never drives is not
compared.
"""

from collections import Counter
from collections.abc import Sequence
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


def parse_traces(
    stdout: str, testbench: Testbench, nums_rows: tuple[int, ...]
) -> tuple[tuple[Trace, ...], ...] | BrokenTrace:
    """The traces in a simulator's output, `[design][row file]`, or why it is none: see `BrokenTrace`.

    Each line must belong to one of the testbench's nonces, and those of each nonce must be in order and complete.
    """
    lines = stdout.split("\n")
    if lines and lines[-1] == "":
        lines.pop()
    lines_by_nonce: dict[str, list[str]] = {nonce: [] for nonce in testbench.nonces}
    if len(testbench.nonces) == 1:
        lines_by_nonce[testbench.nonces[0]] = lines
    else:
        for number, line in enumerate(lines, start=1):
            own = lines_by_nonce.get(line.partition(" ")[0])
            if own is None:
                return _not_ours(number)
            own.append(line)
    by_row_file = []
    for num_rows, (nonce, own_lines) in zip(nums_rows, lines_by_nonce.items(), strict=True):
        traces = _parse_rows(own_lines, nonce, testbench, num_rows)
        if isinstance(traces, BrokenTrace):
            return traces
        by_row_file.append(traces)
    return tuple(zip(*by_row_file, strict=True))


def _parse_rows(lines: list[str], nonce: str, testbench: Testbench, num_rows: int) -> tuple[Trace, ...] | BrokenTrace:
    """The trace of each design in the lines of one row file. Whole columns are checked at once: rows are many."""
    if len(lines) != num_rows + 1:
        return BrokenTrace(reason=f"{num_rows + 1} lines were expected of the run, {len(lines)} came")
    if lines[-1] != f"{nonce} end {num_rows}":
        return BrokenTrace(reason="the closing line of the run is missing")
    widths = [output.width for output in testbench.outputs] * testbench.num_designs
    fields_by_row = [line.split(" ") for line in lines[:-1]]
    odd = next((row for row, fields in enumerate(fields_by_row) if len(fields) != len(widths) + 2), None)
    if odd is not None:
        return _not_ours(odd + 1)
    nonces, numbers, *columns = zip(*fields_by_row, strict=True)
    heads = (((nonce,) * num_rows, nonces), (tuple(map(str, range(num_rows))), numbers))
    lengths = [((width,) * num_rows, tuple(map(len, column))) for width, column in zip(widths, columns, strict=True)]
    for wanted, found in (*heads, *lengths):
        if wanted != found:
            return _not_ours(1 + next(row for row in range(num_rows) if wanted[row] != found[row]))
    num_outputs = len(testbench.outputs)
    return tuple(
        Trace(
            values={
                output.name: column
                for output, column in zip(testbench.outputs, columns[first : first + num_outputs], strict=True)
            },
            num_rows=num_rows,
        )
        for first in range(0, num_outputs * testbench.num_designs, num_outputs)
    )


def _not_ours(line_number: int) -> BrokenTrace:
    return BrokenTrace(reason=f"line {line_number} of the run is not the testbench's")


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectation:
    """A golden's trace under a stimulus, ready to be compared with: what counts as a sample is worked out once."""

    trace: Trace
    stimulus: Stimulus
    samples: dict[str, tuple[int, ...]]  # by output: the scored rows in which the golden says anything
    constant_fractions: dict[str, float]  # by output
    num_samples: int


def expectation_of(golden: Trace, stimulus: Stimulus) -> Expectation:
    """What a golden's trace asks of others. It must have all rows of the stimulus."""
    assert golden.num_rows == len(stimulus.rows), (golden.num_rows, len(stimulus.rows))
    scored = range(stimulus.first_scored_row, golden.num_rows)
    samples = {
        name: tuple(row for row in scored if has_known_bit(column[row])) if _is_driven(column, scored) else ()
        for name, column in golden.values.items()
    }
    return Expectation(
        trace=golden,
        stimulus=stimulus,
        samples=samples,
        constant_fractions={
            name: best_constant_fraction([column[row] for row in samples[name]])
            for name, column in golden.values.items()
        },
        num_samples=len({row for rows in samples.values() for row in rows}),
    )


def compare(expectation: Expectation, candidate: Trace) -> Comparison:
    """Compare a trace with what is expected of it. It must have all rows of the stimulus."""
    golden = expectation.trace
    assert golden.num_rows == candidate.num_rows, (golden.num_rows, candidate.num_rows)
    wrong_rows: set[int] = set()
    scores = []
    first: tuple[int, str] | None = None
    for name, expected in golden.values.items():
        got, samples = candidate.values[name], expectation.samples[name]
        wrong = [] if got == expected else [row for row in samples if not matches(expected[row], got[row])]
        wrong_rows.update(wrong)
        if wrong and (first is None or wrong[0] < first[0]):
            first = (wrong[0], name)
        scores.append(
            OutputScore(
                name=name,
                num_samples=len(samples),
                num_mismatches=len(wrong),
                constant_fraction=expectation.constant_fractions[name],
            )
        )
    return Comparison(
        num_samples=expectation.num_samples,
        num_mismatches=len(wrong_rows),
        outputs=tuple(scores),
        first_mismatch=_describe(first, golden, candidate, expectation.stimulus) if first else None,
    )


def has_known_bit(expected: str) -> bool:
    """Whether the golden says anything in this sample: a bit other than x."""
    return expected.strip("x") != ""


def _is_driven(column: Sequence[str], rows: range) -> bool:
    """Whether the golden drives an output at all: one that floats in every row says nothing of what it should be."""
    return any(column[row].strip("z") for row in rows)


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
