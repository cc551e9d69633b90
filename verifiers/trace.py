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
    texts = {testbench.nonces[0]: stdout}
    if len(testbench.nonces) > 1:
        lines_by_nonce: dict[str, list[str]] = {nonce: [] for nonce in testbench.nonces}
        for number, line in enumerate(stdout.splitlines(keepends=True), start=1):
            own = lines_by_nonce.get(line.partition(" ")[0])
            if own is None:
                return _not_ours(number)
            own.append(line)
        texts = {nonce: "".join(lines) for nonce, lines in lines_by_nonce.items()}
    by_row_file = []
    for num_rows, (nonce, text) in zip(nums_rows, texts.items(), strict=True):
        traces = _parse_rows(text, nonce, testbench, num_rows)
        if isinstance(traces, BrokenTrace):
            return traces
        by_row_file.append(traces)
    return tuple(zip(*by_row_file, strict=True))


def _parse_rows(text: str, nonce: str, testbench: Testbench, num_rows: int) -> tuple[Trace, ...] | BrokenTrace:
    """The trace of each design in the lines of one row file. Whole columns are checked at once: rows are many.

    Words of the right number and lengths, parted by as many blanks and line ends as there must be, leave no room for
    anything else.
    """
    num_lines, closing = text.count("\n"), f"{nonce} end {num_rows}\n"
    if num_lines != num_rows + 1:
        return BrokenTrace(reason=f"{num_rows + 1} lines were expected of the run, {num_lines} came")
    if not text.endswith(closing):
        return BrokenTrace(reason="the closing line of the run is missing")
    num_outputs = len(testbench.outputs)
    widths = [output.width for output in testbench.outputs] * testbench.num_designs
    rows = text[: -len(closing)]
    words, stride = rows.split(), len(widths) + 2
    if len(words) != stride * num_rows or rows.count(" ") != (stride - 1) * num_rows:
        return _first_odd_line(rows, nonce, widths)
    columns = [tuple(words[place::stride]) for place in range(2, stride)]
    is_ours = words[0::stride] == [nonce] * num_rows and words[1::stride] == [str(row) for row in range(num_rows)]
    if not is_ours or any(set(map(len, column)) - {width} for width, column in zip(widths, columns, strict=True)):
        return _first_odd_line(rows, nonce, widths)
    names = [output.name for output in testbench.outputs]
    return tuple(
        Trace(values=dict(zip(names, columns[first : first + num_outputs], strict=True)), num_rows=num_rows)
        for first in range(0, num_outputs * testbench.num_designs, num_outputs)
    )


def _first_odd_line(rows: str, nonce: str, widths: list[int]) -> BrokenTrace:
    for row, line in enumerate(rows.split("\n")):
        head, fields = f"{nonce} {row}".split(" "), line.split(" ")
        if fields[:2] != head or list(map(len, fields[2:])) != widths:
            break
    return _not_ours(row + 1)


def _not_ours(line_number: int) -> BrokenTrace:
    return BrokenTrace(reason=f"line {line_number} of the run is not the testbench's")


@dataclass(frozen=True, kw_only=True, slots=True)
class Expectation:
    """A golden's trace under a stimulus, ready to be compared with: what counts as a sample is worked out once."""

    trace: Trace
    stimulus: Stimulus
    samples: dict[str, tuple[int, ...]]  # by output: the scored rows in which the golden says anything
    constant_fractions: dict[str, float]  # by output
    has_unknown: dict[str, bool]  # by output: whether some sample has an x, which matches anything
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
        has_unknown={name: any("x" in column[row] for row in samples[name]) for name, column in golden.values.items()},
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
        wrong = [] if got == expected else [row for row in samples if expected[row] != got[row]]
        if wrong and expectation.has_unknown[name]:
            wrong = [row for row in wrong if not matches(expected[row], got[row])]
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
