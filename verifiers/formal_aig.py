"""An and-inverter graph with structural hashing, four-valued bits on top of it, and its AIGER text.

A literal is twice a node's number, plus one where inverted; 0 is false and 1 true. A `Bit` is a pair of literals (is
surely 1, is surely 0): both false is x. A bit that is never x has complementary literals, and the operations keep that
recognisable, so that two-valued logic costs what it would cost without the second literal.
"""

from collections.abc import Iterable, Sequence

FALSE, TRUE = 0, 1

Bit = tuple[int, int]  # (is surely 1, is surely 0)
ZERO: Bit = (FALSE, TRUE)
ONE: Bit = (TRUE, FALSE)
UNKNOWN: Bit = (FALSE, FALSE)


class Aig:
    """The graph. `fanins[n]` is None for a variable (input or state), or the two literals of an and-gate."""

    def __init__(self, *, max_nodes: int) -> None:
        self.fanins: list[tuple[int, int] | None] = [None]
        self._gates: dict[tuple[int, int], int] = {}
        self._max_nodes = max_nodes

    def variable(self) -> int:
        """The literal of a new variable."""
        self.fanins.append(None)
        return 2 * (len(self.fanins) - 1)

    def land(self, left: int, right: int) -> int:
        """The literal of left AND right. Raises AigTooLarge past the limit of nodes."""
        if left > right:
            left, right = right, left
        if left in (FALSE, right ^ 1):
            return FALSE
        if left in (TRUE, right):
            return right
        key = (left, right)
        literal = self._gates.get(key)
        if literal is None:
            if len(self.fanins) >= self._max_nodes:
                raise AigTooLarge(f"the designs have more than {self._max_nodes} gates")
            self.fanins.append(key)
            literal = self._gates[key] = 2 * (len(self.fanins) - 1)
        return literal

    def lor(self, left: int, right: int) -> int:
        return self.land(left ^ 1, right ^ 1) ^ 1

    def lxor(self, left: int, right: int) -> int:
        both, neither = self.land(left, right), self.land(left ^ 1, right ^ 1)
        return self.land(both ^ 1, neither ^ 1)

    def lmux(self, select: int, high: int, low: int) -> int:
        if high == low:
            return high
        return self.lor(self.land(select, high), self.land(select ^ 1, low))

    def all_of(self, literals: Iterable[int]) -> int:
        result = TRUE
        for literal in literals:
            result = self.land(result, literal)
        return result

    def any_of(self, literals: Iterable[int]) -> int:
        return self.all_of(literal ^ 1 for literal in literals) ^ 1

    def below(self, roots: Iterable[int], known: set[int] = frozenset()) -> set[int]:
        """The nodes at and below the roots, but for those of `known` and what only they reach."""
        found, pending = set(), [root >> 1 for root in roots]
        while pending:
            node = pending.pop()
            if node in known or node in found:
                continue
            found.add(node)
            fanin = self.fanins[node]
            if fanin is not None:
                pending.extend((fanin[0] >> 1, fanin[1] >> 1))
        return found

    def simulate(self, values: dict[int, int], mask: int) -> list[int]:
        """The value of every node, for many patterns at once: bit p of a word belongs to pattern p.

        `values` gives the words of variables by literal; those not named are 0.
        """
        words = [0] * len(self.fanins)
        for literal, word in values.items():
            words[literal >> 1] = word
        for node, fanin in enumerate(self.fanins):
            if fanin is not None:
                left, right = fanin
                low = words[left >> 1] ^ mask if left & 1 else words[left >> 1]
                words[node] = low & (words[right >> 1] ^ mask if right & 1 else words[right >> 1])
        return words


class AigTooLarge(Exception):
    """The graph would pass its limit of nodes."""


def is_known(bit: Bit) -> bool:
    """Whether the bit is never x, as far as its structure shows."""
    return bit[1] == bit[0] ^ 1


def inverted(bit: Bit) -> Bit:
    return (bit[1], bit[0])


def known_bit(literal: int) -> Bit:
    """A bit that is never x."""
    return (literal, literal ^ 1)


def bit_and(aig: Aig, left: Bit, right: Bit) -> Bit:
    high = aig.land(left[0], right[0])
    return (high, high ^ 1) if is_known(left) and is_known(right) else (high, aig.lor(left[1], right[1]))


def bit_or(aig: Aig, left: Bit, right: Bit) -> Bit:
    return inverted(bit_and(aig, inverted(left), inverted(right)))


def bit_xor(aig: Aig, left: Bit, right: Bit) -> Bit:
    if is_known(left) and is_known(right):
        return known_bit(aig.lxor(left[0], right[0]))
    high = aig.lor(aig.land(left[0], right[1]), aig.land(left[1], right[0]))
    return (high, aig.lor(aig.land(left[0], right[0]), aig.land(left[1], right[1])))


def bit_choice(aig: Aig, select: Bit, high: Bit, low: Bit) -> Bit:
    """`select ? high : low`: with an unknown select, what both agree on."""
    if high == low:
        return high
    if is_known(select):
        ones = aig.lmux(select[0], high[0], low[0])
        if is_known(high) and is_known(low):
            return known_bit(ones)
        return (ones, aig.lmux(select[0], high[1], low[1]))
    return tuple(
        aig.any_of((aig.land(select[0], high[rail]), aig.land(select[1], low[rail]), aig.land(high[rail], low[rail])))
        for rail in (0, 1)
    )


def bits_if(aig: Aig, condition: int, high: Sequence[Bit], low: Sequence[Bit]) -> list[Bit]:
    """`if`, which takes the else branch where its condition is unknown: `condition` is the literal of surely 1."""
    select = known_bit(condition)
    return [bit_choice(aig, select, one, zero) for one, zero in zip(high, low, strict=True)]


def aiger(aig: Aig, *, inputs: Sequence[int], latches: Sequence[tuple[int, int]], bad: int) -> bytes:
    """A binary AIGER file with the one output `bad`. `latches` are (variable, next literal), 0 at first.

    Only the gates that `bad` and the latches reach are written.
    """
    order: dict[int, int] = {0: 0}
    for literal in inputs:
        order[literal >> 1] = len(order)
    for variable, _ in latches:
        order[variable >> 1] = len(order)
    gates = sorted(aig.below([bad, *(following for _, following in latches)], set(order)))
    for node in gates:
        order[node] = len(order)

    def number(literal: int) -> int:
        return 2 * order[literal >> 1] + (literal & 1)

    header = f"aig {len(order) - 1} {len(inputs)} {len(latches)} 1 {len(gates)}\n"
    lines = [f"{number(following)}\n" for _, following in latches]
    body = bytearray()
    for node in gates:
        high, low = sorted(map(number, aig.fanins[node]), reverse=True)
        _append_delta(body, 2 * order[node] - high)
        _append_delta(body, high - low)
    return (header + "".join(lines) + f"{number(bad)}\n").encode() + bytes(body)


def _append_delta(body: bytearray, delta: int) -> None:
    while delta >= 0x80:
        body.append(delta & 0x7F | 0x80)
        delta >>= 7
    body.append(delta)
