"""Where the values of single inputs come from: biased and sticky bits, corner-heavy sticky vectors."""

import random
from dataclasses import dataclass

from verifiers.types import Port, Protocol

_RARE = 1 / 16
_LITERAL = 0.3
_DECK = 0.6
_DECK_BITS = 5  # a narrow vector is often a selector or an opcode: each of its values has a branch of its own
_BIASES = (0.5, 0.5, 0.5, 0.25, 0.75, 0.1, 0.9)


def corner_values(width: int) -> tuple[int, ...]:
    """Values at which arithmetic breaks: 0, 1, 2, all ones, all but one, the top bit, below it, alternating bits."""
    ones = (1 << width) - 1
    top = 1 << (width - 1)
    alternating = int("01" * width, 2) & ones
    return tuple(dict.fromkeys(v & ones for v in (0, 1, 2, ones, ones - 1, top, top - 1, alternating, ~alternating)))


@dataclass(frozen=True, kw_only=True, slots=True)
class BitSource:
    """A one-bit input over one segment of a run: it keeps its value with `hold`, else is high with `bias`."""

    bias: float
    hold: float

    @classmethod
    def draw_for(cls, name: str, protocol: Protocol, rng: random.Random) -> "BitSource":
        """Bias and stickiness for a segment: runs of equal bits matter to state machines, counters, debouncers."""
        if name in protocol.rare_high:
            return cls(bias=_RARE, hold=0.0)
        if name in protocol.rare_low:
            return cls(bias=1 - _RARE, hold=0.0)
        return cls(bias=rng.choice(_BIASES), hold=rng.choice((0.0, 0.0, 0.5, 0.85)))

    def draw(self, previous: int, rng: random.Random) -> int:
        return previous if rng.random() < self.hold else int(rng.random() < self.bias)


class VectorSource:
    """A vector input: literals, corners, other inputs, small steps, small numbers, noise; sticky by segment.

    A narrow one mostly walks through all its values, each time in another order.
    """

    def __init__(self, inputs: tuple[Port, ...], index: int, literals: tuple[int, ...] = ()) -> None:
        self._index = index
        self._mask = (1 << inputs[index].width) - 1
        self._width = inputs[index].width
        self._corners = corner_values(self._width)
        self._literals = tuple(value for value in literals if value <= self._mask)
        self._others = tuple(i for i, port in enumerate(inputs) if i != index and port.width > 1)
        self._hold = 0.0
        self._deck: list[int] = []

    def redraw_stickiness(self, rng: random.Random) -> None:
        """Draw how often the vector keeps its value over the coming segment."""
        self._hold = rng.choice((0.0, 0.0, 0.3, 0.8))

    def draw(self, current: list[int], rng: random.Random) -> int:
        """The next value, given the row as it is now."""
        previous = current[self._index]
        if rng.random() < self._hold:
            return previous
        if self._width <= _DECK_BITS and rng.random() < _DECK:
            self._deck = self._deck or rng.sample(range(self._mask + 1), self._mask + 1)
            return self._deck.pop()
        if self._literals and rng.random() < _LITERAL:
            return rng.choice(self._literals)
        kind = rng.random()
        if kind < 0.25:
            return rng.choice(self._corners)
        if kind < 0.40 and self._others:
            return (current[rng.choice(self._others)] + rng.choice((0, 0, 0, 1, -1))) & self._mask
        if kind < 0.50:
            return (previous + rng.choice((1, -1))) & self._mask
        if kind < 0.60:
            return rng.randrange(16) & self._mask
        if kind < 0.70:
            return (1 << rng.randrange(self._width)) ^ rng.choice((0, previous))
        return rng.getrandbits(self._width)
