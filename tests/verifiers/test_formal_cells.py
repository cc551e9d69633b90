"""The cells' four-valued semantics against Python's integers and hand-made tables. No tool is needed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.formal_aig import ONE, UNKNOWN, ZERO, Aig
from verifiers.formal_cells import CellInputs, UnsupportedCell, evaluate_cell

_DIGITS = {"0": ZERO, "1": ONE, "x": UNKNOWN}
_NAMES = {bit: digit for digit, bit in _DIGITS.items()}


def bits_of(text: str) -> list:
    """Bits, lowest first, of binary text, highest first."""
    return [_DIGITS[digit] for digit in reversed(text)]


def run(kind: str, *, y: int = 1, is_signed: bool = False, is_branch: bool = False, **ports: str) -> str:
    """The binary text of a cell's output."""
    parameters = {"Y_WIDTH": y, "A_SIGNED": int(is_signed), "B_SIGNED": int(is_signed), "WIDTH": y}
    values = {port: bits_of(text) for port, text in ports.items()}
    found = evaluate_cell(kind, CellInputs(Aig(max_nodes=10_000), parameters, values, is_branch))
    return "".join(_NAMES[bit] for bit in reversed(found))


def text(value: int, width: int) -> str:
    return f"{value % (1 << width):0{width}b}"


def signed(value: int, width: int) -> int:
    return value - (1 << width) if value >> (width - 1) else value


@given(a=st.integers(0, 31), b=st.integers(0, 31), is_signed=st.booleans())
def test_arithmetic_is_that_of_integers(a, b, is_signed):
    left, right = (signed(a, 5), signed(b, 5)) if is_signed else (a, b)
    operands = {"A": text(a, 5), "B": text(b, 5), "is_signed": is_signed}
    assert run("$add", y=7, **operands) == text(left + right, 7)
    assert run("$sub", y=7, **operands) == text(left - right, 7)
    assert run("$mul", y=10, **operands) == text(left * right, 10)
    assert run("$lt", **operands) == str(int(left < right))
    assert run("$le", **operands) == str(int(left <= right))
    assert run("$gt", **operands) == str(int(left > right))
    assert run("$ge", **operands) == str(int(left >= right))
    assert run("$eq", **operands) == str(int(a == b))
    if right:
        quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
        assert run("$div", y=7, **operands) == text(quotient, 7)
        assert run("$mod", y=7, **operands) == text(left - quotient * right, 7)


@given(a=st.integers(0, 255), amount=st.integers(0, 15))
def test_shifts_are_those_of_integers(a, amount):
    operands = {"A": text(a, 8), "B": text(amount, 4)}
    assert run("$shl", y=10, **operands) == text(a << amount, 10)
    assert run("$shr", y=8, **operands) == text(a >> amount, 8)
    assert run("$sshr", y=8, is_signed=True, **operands) == text(signed(a, 8) >> amount, 8)


@given(a=st.integers(0, 255), start=st.integers(-8, 7))
def test_a_part_select_is_x_outside_the_vector(a, start):
    padded = "x" * 16 + text(a, 8) + "x" * 16
    end = len(padded) - 16 - start
    aig, values = Aig(max_nodes=10_000), {"A": bits_of(text(a, 8)), "B": bits_of(text(start, 4))}
    found = evaluate_cell("$shiftx", CellInputs(aig, {"Y_WIDTH": 3, "A_SIGNED": 0, "B_SIGNED": 1}, values, False))
    assert "".join(_NAMES[bit] for bit in reversed(found)) == padded[end - 3 : end]


@pytest.mark.parametrize(
    ("kind", "expected"), [("$and", "00001x0xx"), ("$or", "01x111x1x"), ("$xor", "01x10xxxx"), ("$xnor", "10x01xxxx")]
)
def test_an_x_spreads_bit_by_bit_through_logic(kind, expected):
    assert run(kind, y=9, A="000111xxx", B="01x01x01x") == expected


def test_an_x_makes_a_whole_sum_unknown():
    assert run("$add", y=3, A="0x1", B="001") == "xxx"
    assert run("$lt", A="0x1", B="111") == "x"
    assert run("$shl", y=3, A="001", B="x") == "xxx"


def test_equality_is_false_on_a_sure_difference_and_exact_equality_always_known():
    assert run("$eq", A="1x", B="0x") == "0"
    assert run("$eq", A="1x", B="1x") == "x"
    assert run("$eqx", A="1x", B="1x") == "1"
    assert run("$nex", A="1x", B="11") == "1"


def test_division_by_zero_is_unknown():
    assert run("$div", y=2, A="11", B="00") == "xx"


def test_a_conditional_operator_merges_and_an_if_takes_its_else_branch():
    assert run("$mux", y=3, A="011", B="010", S="x") == "01x"
    assert run("$mux", y=3, A="011", B="010", S="x", is_branch=True) == "011"


def test_a_write_at_an_unknown_place_goes_nowhere():
    assert run("$demux", y=1, A="1", S="x1") == "0000"
    assert run("$demux", y=1, A="1", S="10") == "0100"


def test_a_word_is_read_at_its_place_and_unknown_at_an_unknown_one():
    assert run("$bmux", y=2, A="11100100", S="10") == "10"
    assert run("$bmux", y=2, A="11100100", S="1x") == "xx"


def test_reductions_stop_at_a_sure_bit():
    assert run("$reduce_or", A="0x1") == "1"
    assert run("$reduce_and", A="0x1") == "0"
    assert run("$reduce_xor", A="0x1") == "x"
    assert run("$logic_not", A="00x") == "x"


def test_a_cell_that_is_not_modelled_is_refused_by_name():
    with pytest.raises(UnsupportedCell, match=r"\$pow"):
        run("$pow", A="1", B="1")
