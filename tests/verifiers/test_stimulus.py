"""Stimulus: determinism, no races, resets that are real, and inputs that reach what matters."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolchain.errors import UsageError
from verifiers.stimulus import Stimulus, draw_stimulus
from verifiers.stimulus_rows import Rows, without_repeats
from verifiers.stimulus_values import corner_values
from verifiers.types import Clock, Port, Protocol, Reset

_SEEDS = st.integers(0, 2**63 - 1)


def _inputs(**widths: int) -> tuple[Port, ...]:
    return tuple(Port(name=name, direction="input", width=width) for name, width in widths.items())


_CLOCKED = _inputs(clk=1, rst=1, en=1, d=8)
_POSEDGE = (Clock(name="clk"),)
_ASYNC = Protocol(clocks=_POSEDGE, resets=(Reset(name="rst", is_synchronous=False),))


def _column(stimulus: Stimulus, name: str) -> list[int]:
    index = [port.name for port in stimulus.inputs].index(name)
    return [row[index] for row in stimulus.rows]


def _num_rises(values: list[int]) -> int:
    return sum(a == 0 and b == 1 for a, b in itertools.pairwise(values))


@given(_SEEDS)
@settings(max_examples=20, deadline=None)
def test_an_equal_seed_gives_equal_rows_and_another_seed_others(seed):
    assert draw_stimulus(_CLOCKED, _ASYNC, seed) == draw_stimulus(_CLOCKED, _ASYNC, seed)
    assert draw_stimulus(_CLOCKED, _ASYNC, seed).rows != draw_stimulus(_CLOCKED, _ASYNC, seed + 1).rows


@given(_SEEDS, st.booleans(), st.sampled_from(["posedge", "negedge", "both"]))
@settings(max_examples=30, deadline=None)
def test_a_clock_or_a_reset_changes_in_a_row_of_its_own(seed, is_synchronous, edge):
    ports = _inputs(clk=1, wclk=1, rst=1, en=1, d=8)
    protocol = Protocol(
        clocks=(Clock(name="clk", edge=edge), Clock(name="wclk")),
        resets=(Reset(name="rst", is_synchronous=is_synchronous),),
    )
    stimulus = draw_stimulus(ports, protocol, seed)
    for before, after in itertools.pairwise(stimulus.rows):
        changed = [port.name for port, a, b in zip(ports, before, after, strict=True) if a != b]
        assert changed  # a row that changes nothing is no row
        if {"clk", "wclk", "rst"} & set(changed):
            assert len(changed) == 1


@given(_SEEDS)
@settings(max_examples=20, deadline=None)
def test_every_value_fits_its_input(seed):
    for stimulus in (draw_stimulus(_CLOCKED, _ASYNC, seed), draw_stimulus(_inputs(a=33, b=5, c=1), Protocol(), seed)):
        for row in stimulus.rows:
            assert all(0 <= value < 1 << port.width for value, port in zip(row, stimulus.inputs, strict=True))


@given(_SEEDS)
@settings(max_examples=20, deadline=None)
def test_an_active_low_reset_starts_inactive_is_pulsed_first_and_again_later(seed):
    protocol = Protocol(clocks=_POSEDGE, resets=(Reset(name="rst", is_active_high=False, is_synchronous=False),))
    stimulus = draw_stimulus(_CLOCKED, protocol, seed)
    reset, clock = _column(stimulus, "rst"), _column(stimulus, "clk")
    assert reset[0] == 1
    first = reset.index(0)
    assert all(value == 0 for value in reset[first : stimulus.first_scored_row + 1])
    assert _num_rises(clock[first : stimulus.first_scored_row + 1]) >= 2  # a synchronous design sees it too
    assert _num_rises(reset[stimulus.first_scored_row :]) >= 2  # its own end, and at least one more


def test_an_asynchronous_reset_is_seen_to_begin_in_both_phases_of_the_clock():
    phases = set()
    for seed in range(5):
        stimulus = draw_stimulus(_CLOCKED, _ASYNC, seed)
        reset, clock = _column(stimulus, "rst"), _column(stimulus, "clk")
        phases |= {clock[i] for i in range(1, len(reset)) if reset[i] == 1 and reset[i - 1] == 0}
    assert phases == {0, 1}


def test_a_design_without_reset_is_scored_from_the_first_row():
    assert draw_stimulus(_CLOCKED, Protocol(clocks=_POSEDGE), 1).first_scored_row == 0


@given(_SEEDS)
@settings(max_examples=20, deadline=None)
def test_the_run_length_is_drawn_from_the_seed_and_grows_with_min_cycles(seed):
    rises = _num_rises(_column(draw_stimulus(_CLOCKED, Protocol(clocks=_POSEDGE), seed), "clk"))
    assert 120 <= rises <= 260
    long = draw_stimulus(_CLOCKED, Protocol(clocks=_POSEDGE, min_cycles=600), seed)
    assert _num_rises(_column(long, "clk")) >= 720


def test_no_reset_disturbs_the_first_min_cycles():
    protocol = Protocol(clocks=_POSEDGE, resets=_ASYNC.resets, min_cycles=300)
    for seed in range(5):
        stimulus = draw_stimulus(_CLOCKED, protocol, seed)
        reset, clock = _column(stimulus, "rst"), _column(stimulus, "clk")
        released = reset.index(0, stimulus.first_scored_row)
        next_pulse = reset.index(1, released)
        assert _num_rises(clock[released:next_pulse]) >= 300


@given(_SEEDS)
@settings(max_examples=10, deadline=None)
def test_small_clockless_designs_see_every_input_vector(seed):
    stimulus = draw_stimulus(_inputs(a=3, b=1, c=6), Protocol(), seed)
    assert len(set(stimulus.rows)) == 1024


@given(_SEEDS, st.sampled_from([{"a": 2, "b": 3, "c": 1}, {"a": 16, "b": 16, "s": 1}]))
@settings(max_examples=20, deadline=None)
def test_without_a_clock_at_most_one_input_changes_a_row(seed, widths):
    rows = draw_stimulus(_inputs(**widths), Protocol(), seed).rows
    for before, after in itertools.pairwise(rows):
        assert sum(a != b for a, b in zip(before, after, strict=True)) <= 1


def test_wide_clockless_operands_meet_equal_and_at_their_corners():
    rows = draw_stimulus(_inputs(a=32, b=32), Protocol(), 5).rows
    assert any(a == b for a, b in rows)
    assert any(a == 2**32 - 1 for a, _ in rows)
    assert any(a == 2**31 for a, _ in rows)


@given(_SEEDS)
@settings(max_examples=30, deadline=None)
def test_a_selector_among_many_wide_inputs_takes_all_its_values(seed):
    wide = _inputs(a=16, b=16, c=16, d=16, e=16, f=16, g=16, h=16, i=16, sel=4)
    assert set(_column(draw_stimulus(wide, Protocol(), seed), "sel")) == set(range(16))


def test_a_literal_of_the_golden_is_often_driven_where_it_fits():
    rows = draw_stimulus(_inputs(code=16, small=4), Protocol(), 5, literals=(0xE06B,)).rows
    assert len([code for code, _ in rows if code == 0xE06B]) > 20


def test_rare_inputs_are_rare():
    protocol = Protocol(clocks=_POSEDGE, rare_high=("load",), rare_low=("en",))
    stimulus = draw_stimulus(_inputs(clk=1, load=1, en=1), protocol, 9)
    num_rows = len(stimulus.rows)
    assert 0 < sum(_column(stimulus, "load")) < num_rows / 5
    assert num_rows * 4 / 5 < sum(_column(stimulus, "en")) < num_rows


def test_one_bit_inputs_show_long_runs_and_fast_changes():
    stimulus = draw_stimulus(_CLOCKED, Protocol(clocks=_POSEDGE), 3)
    runs = [len(list(run)) for _, run in itertools.groupby(_column(stimulus, "en"))]
    assert max(runs) > 24  # about eight cycles
    assert runs.count(min(runs)) > 10


def test_a_row_is_written_with_its_first_input_leftmost():
    stimulus = Stimulus.of_rows([(1, 6), (0, 15)], inputs=_inputs(a=1, d=4))
    assert stimulus.row_file == "16\n0f\n"
    assert stimulus.rows == [(1, 6), (0, 15)]
    assert stimulus.row_by_name(0) == {"a": "1", "d": "0110"}


@given(st.lists(st.integers(1, 300), max_size=6), st.data())
@settings(max_examples=50, deadline=None)
def test_rows_read_back_as_they_were_written(widths, data):
    inputs = _inputs(**{f"p{place}": width for place, width in enumerate(widths)})
    row = st.tuples(*(st.integers(0, (1 << width) - 1) for width in widths))
    rows = data.draw(st.lists(row, max_size=5))
    stimulus = Stimulus.of_rows(rows, inputs=inputs)
    assert stimulus.num_rows == len(rows)
    assert stimulus.rows == rows


def test_rows_that_change_nothing_are_left_out_and_the_first_scored_one_keeps_its_place():
    drawn = Rows([(0,), (0,), (1,), (1,), (1,), (2,)], first_scored_row=4)
    assert without_repeats(drawn) == Rows([(0,), (1,), (2,)], first_scored_row=1)
    assert without_repeats(drawn._replace(first_scored_row=5)).first_scored_row == 2


def test_a_design_without_inputs_still_has_rows():
    stimulus = draw_stimulus((Port(name="y", direction="output"),), Protocol(), 1)
    assert len(stimulus.rows) >= 2
    assert stimulus.row_file == "0\n" * stimulus.num_rows
    assert stimulus.rows[0] == ()


def test_a_protocol_that_names_no_one_bit_input_is_refused():
    with pytest.raises(UsageError, match="clock9"):
        draw_stimulus(_CLOCKED, Protocol(clocks=(Clock(name="clock9"),)), 1)
    with pytest.raises(UsageError, match="names d;"):
        draw_stimulus(_CLOCKED, Protocol(clocks=(Clock(name="d"),)), 1)


def test_corner_values_are_distinct_and_fit():
    assert corner_values(4) == (0, 1, 2, 15, 14, 8, 7, 5, 10)
    assert set(corner_values(1)) == {0, 1}


def test_a_run_ends_with_resets_in_quick_succession_some_of_them_between_clock_edges():
    num_with_glitch = 0
    for seed in range(20):
        stimulus = draw_stimulus(_CLOCKED, _ASYNC, seed)
        clock, reset = _column(stimulus, "clk"), _column(stimulus, "rst")
        starts = [row for row in range(1, len(reset)) if reset[row - 1 : row + 1] == [0, 1]]
        ends = [row for row in range(1, len(reset)) if reset[row - 1 : row + 1] == [1, 0]]
        assert len(starts) == len(ends) >= 1 + 6  # the first one and the last ones, whatever comes between
        last_gaps = [start - end for end, start in zip(ends, starts[1:], strict=False)][-5:]
        assert max(last_gaps) <= 14 * 4 + 2  # cycles of at most four rows, and the clock toggled around the reset
        num_with_glitch += any(len(set(clock[start:end])) == 1 for start, end in zip(starts, ends, strict=True))
    assert num_with_glitch >= 19


@given(seed=st.integers(0, 2**64))
@settings(max_examples=10, deadline=None)
def test_a_steady_run_goes_on_with_inputs_that_stay(seed):
    ports, protocol = (
        _inputs(clk=1, reset=1, d=1, v=8),
        Protocol(clocks=(Clock(name="clk"),), resets=(Reset(name="reset"),)),
    )
    usual, steady = (draw_stimulus(ports, protocol, seed, is_steady=is_steady) for is_steady in (False, True))
    added = steady.rows[len(usual.rows) :]
    assert steady.rows[: len(usual.rows)] == usual.rows
    assert len(added) in range(4 * 600, 4 * 601 + 1)  # a phase may have the values of what was there
    assert len({row[1:] for row in added}) <= 4
    assert all(row[1] == 0 for row in added)
    assert _num_rises([row[0] for row in added]) >= 4 * 299
