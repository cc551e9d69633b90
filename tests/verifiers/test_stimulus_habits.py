"""Inputs that a testbench only gives one-hot values."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolchain.errors import UsageError
from verifiers.stimulus import draw_stimulus
from verifiers.stimulus_habits import one_hot_inputs
from verifiers.types import Clock, Port, Protocol

PORTS = (
    Port(name="s", direction="input", width=4),
    Port(name="go", direction="input"),
    Port(name="y", direction="output", width=4),
)


def habits(assignments: str, declaration: str = "") -> tuple[str, ...]:
    text = f"module g(output logic [3:0] s); {declaration} initial begin {assignments} end endmodule"
    return one_hot_inputs(text, PORTS)


@pytest.mark.parametrize(
    "assignments",
    ["s <= 1 << ($unsigned($random) % 4);", "s = (4'b1 << n);", "s <= 4'd8; s <= 1<<2;", "repeat (3) s <= 2;"],
)
def test_a_shifted_one_and_literals_of_one_bit_are_one_hot(assignments):
    assert habits(assignments) == ("s",)


@pytest.mark.parametrize(
    "assignments",
    [
        "",
        "s <= $random;",
        "s <= 1 << n; s <= 0;",
        "s <= 3;",
        "s <= 2 << n;",
        "s <= 4'b1x00;",
        "{go, s} <= 1 << n;",
        "s <= 1 << n; s[1] <= 1;",
        "go <= 1 << n; y <= 1;",
    ],
)
def test_anything_else_is_not(assignments):
    assert habits(assignments) == ()


def test_an_initial_value_counts():
    assert habits("state <= 1 << n;", "logic [3:0] s = 0;") == ()


@given(st.integers(min_value=0, max_value=2**32), st.booleans())
def test_a_one_hot_input_has_one_bit_set_in_every_row(seed, is_clocked):
    ports = (Port(name="clk", direction="input"), *PORTS)
    protocol = Protocol(clocks=(Clock(name="clk"),) if is_clocked else (), one_hot=("s",))
    stimulus = draw_stimulus(ports, protocol, seed)
    values = {int(stimulus.row_by_name(row)["s"], 2) for row in range(len(stimulus.rows))}
    assert values == {1, 2, 4, 8}


def test_without_a_habit_the_rows_are_the_same():
    plain = draw_stimulus(PORTS, Protocol(), 3)
    turned = draw_stimulus(PORTS, Protocol(one_hot=("s",)), 3)
    expected = [(1 << row[0] % 4, *row[1:]) for row in plain.rows]
    assert turned.rows == [row for row, _ in itertools.groupby(expected)]  # less those that change nothing now


@pytest.mark.parametrize("name", ["go", "nothing"])
def test_only_vector_inputs_can_be_one_hot(name):
    with pytest.raises(UsageError, match=name):
        draw_stimulus(PORTS, Protocol(one_hot=(name,)), 1)
