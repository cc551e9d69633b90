"""Arithmetic, order and shifts on four-valued bits: a result is x in every bit when an operand has an x.

Bits are listed lowest first. `formal_cells` says which cell does what.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from verifiers.formal_aig import FALSE, TRUE, ZERO, Aig, Bit, bit_choice, is_known, known_bit

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


def masked(aig: Aig, bits: Bits, operands: Sequence[Bits]) -> Bits:
    """The bits where every operand is known, else x."""
    sure = aig.all_of(aig.lor(*bit) for bits_ in operands for bit in bits_ if not is_known(bit))
    if sure == TRUE:
        return bits
    return [(aig.land(bit[0], sure), aig.land(bit[1], sure)) for bit in bits]


def padded(bits: Bits, width: int) -> Bits:
    return (bits + [ZERO] * (width - len(bits)))[:width]


def _values(bits: Bits) -> list[int]:
    """The literals of bits that are taken as known: the caller masks what is not."""
    return [bit[0] for bit in bits]


def add(aig: Aig, left: list[int], right: list[int], carry: int) -> tuple[list[int], int]:
    total = []
    for one, two in zip(left, right, strict=True):
        half = aig.lxor(one, two)
        total.append(aig.lxor(half, carry))
        carry = aig.lor(aig.land(one, two), aig.land(half, carry))
    return total, carry


def subtract(aig: Aig, left: list[int], right: list[int]) -> tuple[list[int], int]:
    """left - right, and whether left >= right (unsigned)."""
    return add(aig, left, [literal ^ 1 for literal in right], TRUE)


def arithmetic(compute: Callable[[Aig, list[int], list[int]], list[int]]) -> Callable[[CellInputs], Bits]:
    def evaluate(cell: CellInputs) -> Bits:
        left, right = cell.extended("A", cell.width), cell.extended("B", cell.width)
        bits = [known_bit(literal) for literal in compute(cell.aig, _values(left), _values(right))]
        return masked(cell.aig, bits, (cell.ports["A"], cell.ports["B"]))

    return evaluate


def product(aig: Aig, left: list[int], right: list[int]) -> list[int]:
    width = len(left)
    total = [FALSE] * width
    for shift, literal in enumerate(right):
        if literal != FALSE:
            part = [FALSE] * shift + [aig.land(bit, literal) for bit in left[: width - shift]]
            total, _ = add(aig, total, part, FALSE)
    return total


def negation(cell: CellInputs) -> Bits:
    operand = cell.extended("A", cell.width)
    total, _ = subtract(cell.aig, [FALSE] * cell.width, _values(operand))
    return masked(cell.aig, [known_bit(literal) for literal in total], (cell.ports["A"],))


def quotient(*, is_remainder: bool) -> Callable[[CellInputs], Bits]:
    """Division that rounds to zero; x by zero."""

    def evaluate(cell: CellInputs) -> Bits:
        aig = cell.aig
        width = max(cell.width, len(cell.ports["A"]), len(cell.ports["B"]))
        operands = [_values(cell.extended(port, width)) for port in "AB"]
        signs = [
            bits[-1] if cell.parameters[f"{port}_SIGNED"] else FALSE for port, bits in zip("AB", operands, strict=True)
        ]
        dividend, divisor = (_absolute(aig, bits, sign) for bits, sign in zip(operands, signs, strict=True))
        quotient, rest = [FALSE] * width, [FALSE] * (width + 1)
        for index in reversed(range(width)):
            rest = [dividend[index], *rest[:width]]
            less, fits = subtract(aig, rest, [*divisor, FALSE])
            quotient[index] = fits
            rest = [aig.lmux(fits, new, old) for new, old in zip(less, rest, strict=True)]
        sign = signs[0] if is_remainder else aig.lxor(*signs)
        result = _absolute(aig, rest[:width] if is_remainder else quotient, sign)[: cell.width]
        is_defined = aig.any_of(divisor)
        bits = [(aig.land(literal, is_defined), aig.land(literal ^ 1, is_defined)) for literal in result]
        return masked(aig, bits, (cell.ports["A"], cell.ports["B"]))

    return evaluate


def _absolute(aig: Aig, bits: list[int], sign: int) -> list[int]:
    """-bits where `sign`, else bits."""
    if sign == FALSE:
        return bits
    total, _ = add(aig, [aig.lxor(bit, sign) for bit in bits], [FALSE] * len(bits), sign)
    return total


def order(*, is_swapped: bool, is_negated: bool) -> Callable[[CellInputs], Bits]:
    """A < B in one of its four forms."""

    def evaluate(cell: CellInputs) -> Bits:
        width = max(len(cell.ports["A"]), len(cell.ports["B"])) + 1
        left, right = (_values(cell.extended(port, width)) for port in ("BA" if is_swapped else "AB"))
        difference, _ = subtract(cell.aig, left, right)
        result = known_bit(difference[-1] ^ is_negated)
        return padded(masked(cell.aig, [result], (cell.ports["A"], cell.ports["B"])), cell.width)

    return evaluate


def shift(*, is_left: bool, is_arithmetic: bool = False) -> Callable[[CellInputs], Bits]:
    def evaluate(cell: CellInputs) -> Bits:
        bits = cell.extended("A", max(cell.width, len(cell.ports["A"])))
        fill = bits[-1] if is_arithmetic and cell.parameters["A_SIGNED"] else ZERO
        amount = cell.ports["B"]
        moved = _moved(cell.aig, bits, _values(amount), fill, is_left=is_left)[: cell.width]
        return masked(cell.aig, moved, (amount,))

    return evaluate


def _moved(aig: Aig, bits: Bits, amount: list[int], fill: Bit, *, is_left: bool) -> Bits:
    """The bits moved to lower places (or to higher ones) by an amount, `fill` where nothing comes from."""
    for stage, literal in enumerate(amount):
        distance = min(1 << stage, len(bits))
        kept = len(bits) - distance
        far = [fill] * distance + bits[:kept] if is_left else bits[distance:] + [fill] * distance
        bits = [bit_choice(aig, known_bit(literal), high, low) for high, low in zip(far, bits, strict=True)]
    return bits


def select_at(*, fill: Bit) -> Callable[[CellInputs], Bits]:
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
        return masked(aig, moved[: cell.width], (cell.ports["B"],))

    return evaluate
