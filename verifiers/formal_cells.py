"""What each combinational cell of Yosys computes, on four-valued bits, as a Verilog simulator would.

Bits are listed lowest first. Equality is false on a sure difference; `if` and `case` take no branch on an x, and `?:`
merges both. A cell that is not listed raises UnsupportedCell.
"""

from collections.abc import Callable

from verifiers.formal_aig import (
    FALSE,
    ONE,
    UNKNOWN,
    ZERO,
    Aig,
    Bit,
    bit_and,
    bit_choice,
    bit_or,
    bit_xor,
    bits_if,
    inverted,
    known_bit,
)
from verifiers.formal_arithmetic import (
    Bits,
    CellInputs,
    UnsupportedCell,
    add,
    arithmetic,
    masked,
    negation,
    order,
    padded,
    product,
    quotient,
    select_at,
    shift,
    subtract,
)

__all__ = ["CellInputs", "UnsupportedCell", "evaluate_cell"]


def evaluate_cell(kind: str, cell: CellInputs) -> Bits:
    """The bits of a cell's output Y. Raises UnsupportedCell."""
    function = _CELLS.get(kind)
    if function is None:
        raise UnsupportedCell(f"a cell of type {kind} is not modelled")
    return function(cell)


def _bitwise(function: Callable[[Aig, Bit, Bit], Bit]) -> Callable[[CellInputs], Bits]:
    def evaluate(cell: CellInputs) -> Bits:
        operands = zip(cell.extended("A", cell.width), cell.extended("B", cell.width), strict=True)
        return [function(cell.aig, left, right) for left, right in operands]

    return evaluate


def _reduced(function: Callable[[Aig, Bit, Bit], Bit], start: Bit, *, is_negated: bool) -> Callable[[CellInputs], Bits]:
    def evaluate(cell: CellInputs) -> Bits:
        result = _fold(cell.aig, function, start, cell.ports["A"])
        return padded([inverted(result) if is_negated else result], cell.width)

    return evaluate


def _fold(aig: Aig, function: Callable[[Aig, Bit, Bit], Bit], start: Bit, bits: Bits) -> Bit:
    for bit in bits:
        start = function(aig, start, bit)
    return start


def _logical(function: Callable[[Aig, Bit, Bit], Bit]) -> Callable[[CellInputs], Bits]:
    def evaluate(cell: CellInputs) -> Bits:
        left, right = (_fold(cell.aig, bit_or, ZERO, cell.ports[port]) for port in "AB")
        return padded([function(cell.aig, left, right)], cell.width)

    return evaluate


def _equality(*, is_exact: bool, is_negated: bool) -> Callable[[CellInputs], Bits]:
    def evaluate(cell: CellInputs) -> Bits:
        aig = cell.aig
        width = max(len(cell.ports["A"]), len(cell.ports["B"]))
        pairs = list(zip(cell.extended("A", width), cell.extended("B", width), strict=True))
        if is_exact:
            result = known_bit(
                aig.any_of(aig.lxor(left[rail], right[rail]) for left, right in pairs for rail in (0, 1)) ^ 1
            )
        else:
            result = inverted(_fold(aig, bit_or, ZERO, [bit_xor(aig, left, right) for left, right in pairs]))
        return padded([inverted(result) if is_negated else result], cell.width)

    return evaluate


def _mux(cell: CellInputs) -> Bits:
    high, low, select = cell.ports["B"], cell.ports["A"], cell.ports["S"][0]
    if cell.is_branch:
        return bits_if(cell.aig, select[0], high, low)
    return [bit_choice(cell.aig, select, one, zero) for one, zero in zip(high, low, strict=True)]


def _pmux(cell: CellInputs) -> Bits:
    """At most one select is 1; the highest goes first, as the first item of a `case` does."""
    width, result = cell.parameters["WIDTH"], cell.ports["A"]
    for index, select in enumerate(cell.ports["S"]):
        part = cell.ports["B"][index * width : (index + 1) * width]
        result = bits_if(cell.aig, select[0], part, result)
    return result


def _bmux(cell: CellInputs) -> Bits:
    width, words = cell.parameters["WIDTH"], cell.ports["A"]
    for select in cell.ports["S"]:
        parts = [words[start : start + width] for start in range(0, len(words), width)]
        words = [
            bit
            for low, high in zip(parts[::2], parts[1::2], strict=True)
            for bit in (
                bit_choice(cell.aig, known_bit(select[0]), one, zero) for one, zero in zip(high, low, strict=True)
            )
        ]
    return masked(cell.aig, words, (cell.ports["S"],))


def _demux(cell: CellInputs) -> Bits:
    """A in the place that S selects, zeros elsewhere; all zeros for an unknown S, which writes nowhere."""
    words = [cell.ports["A"]]
    for select in reversed(cell.ports["S"]):
        words = [
            [bit_and(cell.aig, bit, known_bit(rail)) for bit in word]
            for word in words
            for rail in (select[1], select[0])
        ]
    return [bit for word in words for bit in word]


def _bitwise_mux(cell: CellInputs) -> Bits:
    triples = zip(cell.ports["S"], cell.ports["B"], cell.ports["A"], strict=True)
    return [bit_choice(cell.aig, *triple) for triple in triples]


def _copied(cell: CellInputs) -> Bits:
    return cell.extended("A", cell.width)


_CELLS: dict[str, Callable[[CellInputs], Bits]] = {
    "$not": lambda cell: [inverted(bit) for bit in cell.extended("A", cell.width)],
    "$pos": _copied,
    "$buf": lambda cell: cell.ports["A"],
    "$neg": negation,
    "$and": _bitwise(bit_and),
    "$or": _bitwise(bit_or),
    "$xor": _bitwise(bit_xor),
    "$xnor": _bitwise(lambda aig, left, right: inverted(bit_xor(aig, left, right))),
    "$add": arithmetic(lambda aig, left, right: add(aig, left, right, FALSE)[0]),
    "$sub": arithmetic(lambda aig, left, right: subtract(aig, left, right)[0]),
    "$mul": arithmetic(product),
    "$div": quotient(is_remainder=False),
    "$mod": quotient(is_remainder=True),
    "$lt": order(is_swapped=False, is_negated=False),
    "$ge": order(is_swapped=False, is_negated=True),
    "$gt": order(is_swapped=True, is_negated=False),
    "$le": order(is_swapped=True, is_negated=True),
    "$eq": _equality(is_exact=False, is_negated=False),
    "$ne": _equality(is_exact=False, is_negated=True),
    "$eqx": _equality(is_exact=True, is_negated=False),
    "$nex": _equality(is_exact=True, is_negated=True),
    "$reduce_and": _reduced(bit_and, ONE, is_negated=False),
    "$reduce_or": _reduced(bit_or, ZERO, is_negated=False),
    "$reduce_bool": _reduced(bit_or, ZERO, is_negated=False),
    "$reduce_xor": _reduced(bit_xor, ZERO, is_negated=False),
    "$reduce_xnor": _reduced(bit_xor, ZERO, is_negated=True),
    "$logic_not": _reduced(bit_or, ZERO, is_negated=True),
    "$logic_and": _logical(bit_and),
    "$logic_or": _logical(bit_or),
    "$shl": shift(is_left=True),
    "$sshl": shift(is_left=True),
    "$shr": shift(is_left=False),
    "$sshr": shift(is_left=False, is_arithmetic=True),
    "$shift": select_at(fill=ZERO),
    "$shiftx": select_at(fill=UNKNOWN),
    "$mux": _mux,
    "$pmux": _pmux,
    "$bmux": _bmux,
    "$demux": _demux,
    "$bwmux": _bitwise_mux,
}
