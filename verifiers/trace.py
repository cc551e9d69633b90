"""Reads what the testbench printed and compares it with the golden's trace, outside any simulator.

A golden bit that is x matches anything; x or z of the candidate matches a golden x only; a golden z needs a z. These
are VerilogEval's rules (`===` against the golden masked where it is x). An output that the golden never drives is not
compared.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise, repeat

from verifiers.stimulus import Stimulus
from verifiers.testbench import Testbench
from verifiers.types import FirstMismatch, OutputScore

_SHOWN_ROWS = 8
_MAX_DIGITS = 9  # of a row number


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

    Each line must belong to one of the testbench's nonces, and those of each nonce must be in order and complete. A row
    without a line is as the one before.
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
    """The trace of each design in the lines of one row file. Whole columns are checked at once: lines are many.

    Words of the right number and lengths, parted by as many blanks and line ends as there must be, leave no room for
    anything else.
    """
    num_lines = text.count("\n") - 1
    closing = f"{nonce} end {num_rows} {num_lines}\n"
    if not text.endswith(closing) or not min(num_rows, 1) <= num_lines <= num_rows:
        return BrokenTrace(reason="the closing line of the run is missing, or does not count what came before it")
    num_outputs = len(testbench.outputs)
    widths = [output.width for output in testbench.outputs] * testbench.num_designs
    lines = text[: -len(closing)]
    words, stride = lines.split(), len(widths) + 2
    if len(words) != stride * num_lines or lines.count(" ") != (stride - 1) * num_lines:
        return _first_odd_line(lines, nonce, widths)
    columns = [words[place::stride] for place in range(2, stride)]
    lengths = _lengths(words[1::stride], num_rows)
    is_ours = lengths is not None and words[0::stride] == [nonce] * num_lines
    if not is_ours or any(set(map(len, column)) - {width} for width, column in zip(widths, columns, strict=True)):
        return _first_odd_line(lines, nonce, widths)
    names = [output.name for output in testbench.outputs]
    whole = [unroll(column, lengths) for column in columns]
    return tuple(
        Trace(values=dict(zip(names, whole[first : first + num_outputs], strict=True)), num_rows=num_rows)
        for first in range(0, num_outputs * testbench.num_designs, num_outputs)
    )


def _lengths(numbers: list[str], num_rows: int) -> list[int] | None:
    """For how many rows each line holds, by the rows that the lines name: the first is 0, each more than the last."""
    starts = list(map(_row_number, numbers))
    lengths = [end - start for start, end in pairwise([*starts, num_rows])]
    is_right = not starts or (starts[0] == 0 and min(lengths) > 0)
    return lengths if is_right else None


def _row_number(word: str) -> int:
    """A row's number as it is printed; -1 for any other word."""
    is_number = word.isascii() and word.isdecimal() and len(word) <= _MAX_DIGITS and (word[0] != "0" or word == "0")
    return int(word) if is_number else -1


def unroll(values: Sequence[str], lengths: Sequence[int]) -> tuple[str, ...]:
    """A column of one value a row from values that each hold for some rows."""
    return tuple(chain.from_iterable(map(repeat, values, lengths)))


def _first_odd_line(lines: str, nonce: str, widths: list[int]) -> BrokenTrace:
    previous = -1
    for place, line in enumerate(lines.split("\n"), start=1):
        head, number, *fields = line.split(" ") if " " in line else (line, "")
        row = _row_number(number)
        if head != nonce or row <= previous or list(map(len, fields)) != widths:
            return _not_ours(place)
        previous = row
    raise AssertionError("what follows the last line end is no row")


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
    assert golden.num_rows == stimulus.num_rows, (golden.num_rows, stimulus.num_rows)
    scored = range(stimulus.first_scored_row, golden.num_rows)
    counts = {name: Counter(column[scored.start :]) for name, column in golden.values.items()}
    samples = {name: _samples(column, counts[name], scored) for name, column in golden.values.items()}
    for name, rows in samples.items():
        said = {value: count for value, count in counts[name].items() if rows and has_known_bit(value)}
        counts[name] = Counter(said)
    return Expectation(
        trace=golden,
        stimulus=stimulus,
        samples=samples,
        constant_fractions={name: best_constant_fraction(said) for name, said in counts.items()},
        has_unknown={name: any("x" in value for value in said) for name, said in counts.items()},
        num_samples=_num_rows_of(samples.values(), len(scored)),
    )


def _samples(column: Sequence[str], counts: Counter[str], scored: range) -> tuple[int, ...]:
    """The scored rows in which the golden says anything, of an output that it drives at all: see `_is_driven`."""
    if not _is_driven(counts):
        return ()
    silent = {value for value in counts if not has_known_bit(value)}
    return tuple(row for row in scored if column[row] not in silent) if silent else tuple(scored)


def _num_rows_of(samples: Collection[tuple[int, ...]], num_scored: int) -> int:
    """How many rows there are in any of them."""
    if any(len(rows) == num_scored for rows in samples):
        return num_scored
    return len({row for rows in samples for row in rows})


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


def _is_driven(values: Collection[str]) -> bool:
    """Whether the golden drives an output at all: one that floats in every row says nothing of what it should be."""
    return any(value.strip("z") for value in values)


def matches(expected: str, got: str) -> bool:
    """Whether a candidate's value is right: equal in every bit that the golden does not leave open."""
    if "x" not in expected:
        return got == expected
    return all(e in ("x", g) for e, g in zip(expected, got, strict=True))


def best_constant_fraction(expected: Counter[str]) -> float:
    """The fraction of samples that the most frequent fully known golden value matches; 0 where none is."""
    known = [(count, value) for value, count in expected.items() if "x" not in value]
    if not known:
        return 0.0
    _, mode = max(known)
    return sum(count for value, count in expected.items() if matches(value, mode)) / expected.total()


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
