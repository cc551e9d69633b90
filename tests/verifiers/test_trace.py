"""Reading traces and comparing them, on hand-made ones."""

from collections import Counter

import pytest

from verifiers.stimulus import Stimulus
from verifiers.testbench import Testbench
from verifiers.trace import BrokenTrace, Trace, best_constant_fraction, compare, expectation_of, matches, parse_traces
from verifiers.types import Port

_BENCH = Testbench(
    text="",
    top="tb_n",
    nonces=("n0nce",),
    outputs=(Port(name="q", direction="output", width=2), Port(name="z", direction="output")),
)
_GOOD = "n0nce 0 01 1\nn0nce 1 1x 0\nn0nce end 2 2\n"


def _trace(**values: list[str]) -> Trace:
    return Trace(values={name: tuple(v) for name, v in values.items()}, num_rows=len(next(iter(values.values()))))


def _stimulus(num_rows: int, first_scored_row: int = 0) -> Stimulus:
    inputs = (Port(name="d", direction="input", width=4),)
    rows = [(i % 16,) for i in range(num_rows)]
    return Stimulus.of_rows(rows, inputs=inputs, seed=1, first_scored_row=first_scored_row)


def test_a_complete_output_is_read_by_output():
    assert parse_traces(_GOOD, _BENCH, (2,)) == ((Trace(values={"q": ("01", "1x"), "z": ("1", "0")}, num_rows=2),),)


def test_a_row_without_a_line_is_as_the_one_before():
    [[trace]] = parse_traces("n0nce 0 01 1\nn0nce 3 1x 0\nn0nce end 5 2\n", _BENCH, (5,))
    assert trace == Trace(values={"q": ("01",) * 3 + ("1x",) * 2, "z": ("1",) * 3 + ("0",) * 2}, num_rows=5)


@pytest.mark.parametrize(
    "forged",
    [
        "",
        _GOOD.replace("n0nce end 2 2\n", ""),  # no closing line
        "n0nce end 2 2\n",  # no rows
        _GOOD.replace("n0nce 1 1x 0\n", ""),  # a row is missing
        _GOOD + "n0nce end 2 2\n",  # closed twice
        _GOOD + "Mismatches: 0 in 2 samples\n",
        "hello\n" + _GOOD,
        _GOOD.replace("n0nce 1", "n0nce 0"),  # a row doubled
        _GOOD.replace("n0nce 1 1x 0", "other 1 1x 0"),  # another nonce
        _GOOD.replace("1x 0", "1x"),  # a field is missing
        _GOOD.replace("1x 0", "1x 0 0"),
        _GOOD.replace("1x 0", "1 0"),  # too narrow
        _GOOD.replace("end 2 2", "end 3 2"),
        _GOOD.replace("end 2 2", "end 2 1"),
        _GOOD.replace("end 2 2", "end 2"),
        _GOOD.replace("n0nce 0 ", "n0nce 1 ", 1).replace("n0nce 1 1x", "n0nce 2 1x"),  # begins late
        _GOOD.replace("n0nce 1", "n0nce 2"),  # past the end
        _GOOD.replace("n0nce 1", "n0nce 01"),
        _GOOD.replace("n0nce 1", "n0nce " + "9" * 5000),
        _GOOD.replace("n0nce 1", "n0nce -1"),
        _GOOD.replace("n0nce 1", "n0nce \u00b2"),
        _GOOD.replace("\n", "\r\n"),
    ],
)
def test_an_output_with_anything_odd_is_broken(forged):
    assert isinstance(parse_traces(forged, _BENCH, (2,)), BrokenTrace)


@pytest.mark.parametrize(
    ("expected", "got", "is_match"),
    [
        ("01", "01", True),
        ("01", "00", False),
        ("0x", "01", True),
        ("0x", "0x", True),
        ("0x", "0z", True),
        ("xx", "zz", True),
        ("01", "0x", False),
        ("01", "0z", False),
        ("0z", "0z", True),
        ("0z", "01", False),
        ("0z", "0x", False),
    ],
)
def test_an_unknown_golden_bit_matches_anything_and_an_unknown_candidate_bit_nothing_else(expected, got, is_match):
    assert matches(expected, got) is is_match


def test_samples_and_mismatches_are_counted_by_output_and_by_row():
    golden = _trace(q=["xx", "01", "10", "1x"], z=["x", "1", "1", "0"])
    candidate = _trace(q=["00", "01", "11", "11"], z=["0", "0", "0", "0"])
    comparison = compare(expectation_of(golden, _stimulus(4)), candidate)
    assert comparison.num_samples == 3  # row 0 says nothing
    assert comparison.num_mismatches == 2  # rows 1 (z) and 2 (both)
    q, z = comparison.outputs
    assert (q.name, q.num_samples, q.num_mismatches) == ("q", 3, 1)
    assert (z.name, z.num_samples, z.num_mismatches) == ("z", 3, 2)
    assert q.matched_fraction == pytest.approx(2 / 3)


def test_the_first_mismatch_has_the_inputs_that_led_there():
    golden = _trace(q=["0"] * 20)
    candidate = _trace(q=["0"] * 11 + ["1"] + ["0"] * 8)
    first = compare(expectation_of(golden, _stimulus(20)), candidate).first_mismatch
    assert (first.row, first.output, first.expected, first.got) == (11, "q", "0", "1")
    assert [row["d"] for row in first.inputs] == [f"{i:04b}" for i in range(4, 12)]


def test_the_first_mismatch_near_the_start_has_fewer_inputs():
    comparison = compare(expectation_of(_trace(q=["0", "0"]), _stimulus(2)), _trace(q=["0", "1"]))
    assert [row["d"] for row in comparison.first_mismatch.inputs] == ["0000", "0001"]


def test_rows_before_the_first_scored_one_do_not_count():
    comparison = compare(
        expectation_of(_trace(q=["0", "0", "1"]), _stimulus(3, first_scored_row=1)), _trace(q=["1", "0", "1"])
    )
    assert (comparison.num_samples, comparison.num_mismatches, comparison.first_mismatch) == (2, 0, None)


def test_a_golden_that_says_nothing_gives_no_sample_and_no_pass_by_itself():
    comparison = compare(expectation_of(_trace(q=["xx", "xx"]), _stimulus(2)), _trace(q=["01", "10"]))
    assert (comparison.num_samples, comparison.outputs[0].num_samples) == (0, 0)
    assert comparison.outputs[0].matched_fraction == 0.0


def test_the_best_constant_is_the_mode_and_gains_what_unknown_bits_allow():
    # 10 is the most frequent known value (2 of 5); it also matches 1x: 3 of 5.
    assert best_constant_fraction(Counter(["10", "10", "01", "1x", "00"])) == pytest.approx(0.6)
    assert best_constant_fraction(Counter()) == 0.0


def test_an_output_that_the_golden_never_drives_is_not_compared():
    golden, other = _trace(q=["01", "10"], z=["z", "z"]), _trace(q=["01", "10"], z=["1", "0"])
    comparison = compare(expectation_of(golden, _stimulus(2)), other)
    assert comparison.num_mismatches == 0
    assert [(score.name, score.num_samples) for score in comparison.outputs] == [("q", 2), ("z", 0)]
    at_times = _trace(q=["01", "10"], z=["z", "1"])
    assert compare(expectation_of(at_times, _stimulus(2)), other).num_mismatches == 2
