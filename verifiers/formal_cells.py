"""What each combinational cell of Yosys computes, on four-valued bits, as a Verilog simulator would.

Bits are listed lowest first. Arithmetic, order and shifts by x are x in every bit; equality is false on a sure
difference; `if` and `case` take no branch on an x. A cell that is not listed raises UnsupportedCell.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from verifiers.formal_aig import (
    FALSE,
    ONE,
    TRUE,
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
    is_known,
    known_bit,
)

Bits = list[Bit]


class UnsupportedCell(Exception):
    """A cell that is not modelled. The message names its type."""


@dataclass(frozen=True, slots=True)
class CellInputs:
    """The graph, a cell's parameters and its input bits by port."""

    aig: Aig
    parameters: dict[str, int]
    ports: dict[str, Bits]
    is_branch: bool  # out of an `if` or `case`, not out of `?:`

    @property
    def width(self) -> int:
        return self.parameters["Y_WIDTH"]

    def extended(self, port: str, width: int) -> Bits:
        """The port's bits with the sign, or zeros, up to `width`, or cut to it."""
        bits = self.ports[port]
        fill = bits[-1] if self.parameters[f"{port}_SIGNED"] and bits else ZERO
        return (bits + [fill] * (width - len(bits)))[:width]


def evaluate_cell(kind: str, cell: CellInputs) -> Bits:
    """The bits of a cell's output Y. Raises UnsupportedCell."""
    function = _CELLS.get(kind)
    if function is None:
        raise UnsupportedCell(f"a cell of type {kind} is not modelled")
    return function(cell)


def _masked(aig: Aig, bits: Bits, operands: Sequence[Bits]) -> Bits:
    """The bits where every operand is known, else x."""
    sure = aig.all_of(aig.lor(*bit) for bits_ in operands for bit in bits_ if not is_known(bit))
    if sure == TRUE:
        return bits
    return [(aig.land(bit[0], sure), aig.land(bit[1], sure)) for bit in bits]


def _values(bits: Bits) -> list[int]:
    """The literals of bits that are taken as known: the caller masks what is not."""
    return [bit[0] for bit in bits]


def _sum(aig: Aig, left: list[int], right: list[int], carry: int) -> tuple[list[int], int]:
    total = []
    for one, two in zip(left, right, strict=True):
        half = aig.lxor(one, two)
        total.append(aig.lxor(half, carry))
        carry = aig.lor(aig.land(one, two), aig.land(half, carry))
    return total, carry


def _difference(aig: Aig, left: list[int], right: list[int]) -> tuple[list[int], int]:
    """left - right, and whether left >= right (unsigned)."""
    return _sum(aig, left, [literal ^ 1 for literal in right], TRUE)


def _arithmetic(compute: Callable[[Aig, list[int], list[int]], list[int]]) -> Callable[[CellInputs], Bits]:
    def evaluate(cell: CellInputs) -> Bits:
        left, right = cell.extended("A", cell.width), cell.extended("B", cell.width)
        bits = [known_bit(literal) for literal in compute(cell.aig, _values(left), _values(right))]
        return _masked(cell.aig, bits, (cell.ports["A"], cell.ports["B"]))

    return evaluate


def _product(aig: Aig, left: list[int], right: list[int]) -> list[int]:
    width = len(left)
    total = [FALSE] * width
    for shift, literal in enumerate(right):
        if literal != FALSE:
            part = [FALSE] * shift + [aig.land(bit, literal) for bit in left[: width - shift]]
            total, _ = _sum(aig, total, part, FALSE)
    return total


def _negation(cell: CellInputs) -> Bits:
    operand = cell.extended("A", cell.width)
    total, _ = _difference(cell.aig, [FALSE] * cell.width, _values(operand))
    return _masked(cell.aig, [known_bit(literal) for literal in total], (cell.ports["A"],))


def _quotient(*, is_remainder: bool) -> Callable[[CellInputs], Bits]:
    """Division that rounds to zero; x by zero."""

    def evaluate(cell: CellInputs) -> Bits:
        aig = cell.aig
        width = max(cell.width, len(cell.ports["A"]), len(cell.ports["B"]))
        operands = [_values(cell.extended(port, width)) for port in "AB"]
        signs = [bits[-1] if cell.parameters[f"{port}_SIGNED"] else FALSE for port, bits in zip("AB", operands, strict=True)]
        dividend, divisor = (_absolute(aig, bits, sign) for bits, sign in zip(operands, signs, strict=True))
        quotient, rest = [FALSE] * width, [FALSE] * (width + 1)
        for index in reversed(range(width)):
            rest = [dividend[index], *rest[:width]]
            less, fits = _difference(aig, rest, [*divisor, FALSE])
            quotient[index] = fits
            rest = [aig.lmux(fits, new, old) for new, old in zip(less, rest, strict=True)]
        sign = signs[0] if is_remainder else aig.lxor(*signs)
        result = _absolute(aig, rest[:width] if is_remainder else quotient, sign)[: cell.width]
        is_defined = aig.any_of(divisor)
        bits = [(aig.land(literal, is_defined), aig.land(literal ^ 1, is_defined)) for literal in result]
        return _masked(aig, bits, (cell.ports["A"], cell.ports["B"]))

    return evaluate


def _absolute(aig: Aig, bits: list[int], sign: int) -> list[int]:
    """-bits where `sign`, else bits."""
    if sign == FALSE:
        return bits
    total, _ = _sum(aig, [aig.lxor(bit, sign) for bit in bits], [FALSE] * len(bits), sign)
    return total


def _order(*, is_swapped: bool, is_negated: bool) -> Callable[[CellInputs], Bits]:
    """A < B in one of its four forms."""

    def evaluate(cell: CellInputs) -> Bits:
        width = max(len(cell.ports["A"]), len(cell.ports["B"])) + 1
        left, right = (_values(cell.extended(port, width)) for port in ("BA" if is_swapped else "AB"))
        difference, _ = _difference(cell.aig, left, right)
        result = known_bit(difference[-1] ^ is_negated)
        return _padded(_masked(cell.aig, [result], (cell.ports["A"], cell.ports["B"])), cell.width)

    return evaluate


def _padded(bits: Bits, width: int) -> Bits:
    return (bits + [ZERO] * (width - len(bits)))[:width]


def _bitwise(function: Callable[[Aig, Bit, Bit], Bit]) -> Callable[[CellInputs], Bits]:
    def evaluate(cell: CellInputs) -> Bits:
        operands = zip(cell.extended("A", cell.width), cell.extended("B", cell.width), strict=True)
        return [function(cell.aig, left, right) for left, right in operands]

    return evaluate


def _reduced(function: Callable[[Aig, Bit, Bit], Bit], start: Bit, *, is_negated: bool) -> Callable[[CellInputs], Bits]:
    def evaluate(cell: CellInputs) -> Bits:
        result = _fold(cell.aig, function, start, cell.ports["A"])
        return _padded([inverted(result) if is_negated else result], cell.width)

    return evaluate


def _fold(aig: Aig, function: Callable[[Aig, Bit, Bit], Bit], start: Bit, bits: Bits) -> Bit:
    for bit in bits:
        start = function(aig, start, bit)
    return start


def _logical(function: Callable[[Aig, Bit, Bit], Bit]) -> Callable[[CellInputs], Bits]:
    def evaluate(cell: CellInputs) -> Bits:
        left, right = (_fold(cell.aig, bit_or, ZERO, cell.ports[port]) for port in "AB")
        return _padded([function(cell.aig, left, right)], cell.width)

    return evaluate


def _equality(*, is_exact: bool, is_negated: bool) -> Callable[[CellInputs], Bits]:
    def evaluate(cell: CellInputs) -> Bits:
        aig = cell.aig
        width = max(len(cell.ports["A"]), len(cell.ports["B"]))
        pairs = list(zip(cell.extended("A", width), cell.extended("B", width), strict=True))
        if is_exact:
            result = known_bit(aig.any_of(aig.lxor(left[rail], right[rail]) for left, right in pairs for rail in (0, 1)) ^ 1)
        else:
            result = inverted(_fold(aig, bit_or, ZERO, [bit_xor(aig, left, right) for left, right in pairs]))
        return _padded([inverted(result) if is_negated else result], cell.width)

    return evaluate


def _shift(*, is_left: bool, is_arithmetic: bool = False) -> Callable[[CellInputs], Bits]:
    def evaluate(cell: CellInputs) -> Bits:
        bits = cell.extended("A", max(cell.width, len(cell.ports["A"])))
        fill = bits[-1] if is_arithmetic and cell.parameters["A_SIGNED"] else ZERO
        amount = cell.ports["B"]
        moved = _moved(cell.aig, bits, _values(amount), fill, is_left=is_left)[: cell.width]
        return _masked(cell.aig, moved, (amount,))

    return evaluate


def _moved(aig: Aig, bits: Bits, amount: list[int], fill: Bit, *, is_left: bool) -> Bits:
    """The bits moved to lower places (or to higher ones) by an amount, `fill` where nothing comes from."""
    for stage, literal in enumerate(amount):
        distance = min(1 << stage, len(bits))
        kept = len(bits) - distance
        far = [fill] * distance + bits[:kept] if is_left else bits[distance:] + [fill] * distance
        bits = [bit_choice(aig, known_bit(literal), high, low) for high, low in zip(far, bits, strict=True)]
    return bits


def _select_at(*, fill: Bit) -> Callable[[CellInputs], Bits]:
    """$shift and $shiftx: A from place B on; B may be negative."""

    def evaluate(cell: CellInputs) -> Bits:
        if cell.parameters["A_SIGNED"]:
            raise UnsupportedCell("a part select of a signed value is not modelled")
        aig, amount = cell.aig, _values(cell.ports["B"])
        source = cell.ports["A"]
        bits = source + [fill] * (cell.width - len(source))
        if cell.parameters["B_SIGNED"]:
            sign = amount[-1]
            right = _moved(aig, bits, amount[:-1], fill, is_left=False)
            left = _moved(aig, bits, _absolute(aig, amount, TRUE), fill, is_left=True)
            moved = [bit_choice(aig, known_bit(sign), low, high) for low, high in zip(left, right, strict=True)]
        else:
            moved = _moved(aig, bits, amount, fill, is_left=False)
        return _masked(aig, moved[: cell.width], (cell.ports["B"],))

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
            for bit in (bit_choice(cell.aig, known_bit(select[0]), one, zero) for one, zero in zip(high, low, strict=True))
        ]
    return _masked(cell.aig, words, (cell.ports["S"],))


def _demux(cell: CellInputs) -> Bits:
    """A in the place that S selects, zeros elsewhere; all zeros for an unknown S, which writes nowhere."""
    words = [cell.ports["A"]]
    for select in reversed(cell.ports["S"]):
        words = [
            [bit_and(cell.aig, bit, known_bit(rail)) for bit in word] for word in words for rail in (select[1], select[0])
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
    "$neg": _negation,
    "$and": _bitwise(bit_and),
    "$or": _bitwise(bit_or),
    "$xor": _bitwise(bit_xor),
    "$xnor": _bitwise(lambda aig, left, right: inverted(bit_xor(aig, left, right))),
    "$add": _arithmetic(lambda aig, left, right: _sum(aig, left, right, FALSE)[0]),
    "$sub": _arithmetic(lambda aig, left, right: _difference(aig, left, right)[0]),
    "$mul": _arithmetic(_product),
    "$div": _quotient(is_remainder=False),
    "$mod": _quotient(is_remainder=True),
    "$lt": _order(is_swapped=False, is_negated=False),
    "$ge": _order(is_swapped=False, is_negated=True),
    "$gt": _order(is_swapped=True, is_negated=False),
    "$le": _order(is_swapped=True, is_negated=True),
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
    "$shl": _shift(is_left=True),
    "$sshl": _shift(is_left=True),
    "$shr": _shift(is_left=False),
    "$sshr": _shift(is_left=False, is_arithmetic=True),
    "$shift": _select_at(fill=ZERO),
    "$shiftx": _select_at(fill=UNKNOWN),
    "$mux": _mux,
    "$pmux": _pmux,
    "$bmux": _bmux,
    "$demux": _demux,
    "$bwmux": _bitwise_mux,
}
