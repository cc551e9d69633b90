"""Draws the input rows that a design is driven with, from a seed and its protocol. Runs no simulator.

A row is one full vector of all inputs, clocks and resets too, held for one row time and sampled at its end. A clock
and data never change in the same row, nor do two clocks, nor do an asynchronous reset and anything else: what a design
sees at an edge is never a race. Without a clock one input changes a row, so that latches see no race either. No row
repeats the one before it.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import lshift

from toolchain.errors import UsageError
from verifiers.stimulus_clocked import ClockedRun
from verifiers.stimulus_clockless import draw_clockless
from verifiers.stimulus_rows import Rows, with_one_hot, without_repeats
from verifiers.stimulus_values import VectorSource
from verifiers.types import Port, Protocol

_CYCLES_WITHOUT_INPUTS = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Stimulus:
    """Input rows as a simulator reads them: a row is a line of `row_file`, its bits in hexadecimal digits, those of the
    first input leftmost. A design without inputs has the one dummy digit 0. Rows before `first_scored_row` are not
    compared."""

    seed: int
    inputs: tuple[Port, ...]
    row_file: str
    first_scored_row: int = 0

    @classmethod
    def of_rows(
        cls, rows: Sequence[Sequence[int]], *, inputs: tuple[Port, ...], seed: int = 0, first_scored_row: int = 0
    ) -> "Stimulus":
        """`rows[i][j]` is the value of `inputs[j]` in row i."""
        shifts = _shifts(inputs)
        line = f"{{:0{_num_digits(inputs)}x}}\n".format
        row_file = "".join(line(sum(map(lshift, row, shifts))) for row in rows)
        return cls(seed=seed, inputs=inputs, row_file=row_file, first_scored_row=first_scored_row)

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return len(self.row_file) // (_num_digits(self.inputs) + 1)

    @property
    def rows(self) -> list[tuple[int, ...]]:
        """The values of the inputs in every row."""
        return [self.row(number) for number in range(self.num_rows)]

    def row(self, number: int) -> tuple[int, ...]:
        """The values of the inputs in a row."""
        num_digits = _num_digits(self.inputs)
        start = number * (num_digits + 1)
        whole = int(self.row_file[start : start + num_digits], 16)
        shifts = _shifts(self.inputs)
        return tuple(whole >> s & (1 << port.width) - 1 for s, port in zip(shifts, self.inputs, strict=True))

    def row_by_name(self, number: int) -> dict[str, str]:
        """A row as binary strings by input name."""
        values = zip(self.row(number), self.inputs, strict=True)
        return {port.name: f"{value:0{port.width}b}" for value, port in values}


def _num_digits(inputs: tuple[Port, ...]) -> int:
    return max(-(-sum(port.width for port in inputs) // 4), 1)


def _shifts(inputs: tuple[Port, ...]) -> tuple[int, ...]:
    """How far left the bits of each input stand in a row."""
    widths = [port.width for port in inputs]
    return tuple(accumulate(reversed(widths[1:]), initial=0))[::-1] if widths else ()


def draw_stimulus(
    ports: tuple[Port, ...],
    protocol: Protocol,
    seed: int,
    *,
    literals: tuple[int, ...] = (),
    is_steady: bool = False,
) -> Stimulus:
    """The stimulus for `seed`: equal arguments, equal rows. Names in `protocol` must be one-bit inputs of `ports`.

    `literals` are numbers that the golden compares with: vectors wide enough take them often. `is_steady` adds long
    phases at the end of a clocked run in which no input but the clocks changes: a divider by an input shows only there.
    Raises UsageError for a name in `protocol` that is no such input (`one_hot`: no vector input).
    """
    inputs = tuple(port for port in ports if port.direction == "input")
    drawn = with_one_hot(_draw(inputs, protocol, seed, literals, is_steady), inputs, protocol)
    rows, first_scored_row = without_repeats(drawn) if inputs else drawn
    return Stimulus.of_rows(rows, inputs=inputs, seed=seed, first_scored_row=first_scored_row)


def _draw(inputs: tuple[Port, ...], protocol: Protocol, seed: int, literals: tuple[int, ...], is_steady: bool) -> Rows:
    _check_names(inputs, protocol)
    rng = random.Random(seed)
    if not inputs:
        return Rows([()] * _CYCLES_WITHOUT_INPUTS)
    sources = {i: VectorSource(inputs, i, literals) for i, port in enumerate(inputs) if port.width > 1}
    if not protocol.clocks:
        return draw_clockless(inputs, protocol, rng, sources)
    return ClockedRun(inputs, protocol, rng, sources).draw(is_steady=is_steady)


def _check_names(inputs: tuple[Port, ...], protocol: Protocol) -> None:
    one_bit = {port.name for port in inputs if port.width == 1}
    named = [clock.name for clock in protocol.clocks] + [reset.name for reset in protocol.resets]
    wrong = sorted({*named, *protocol.rare_high, *protocol.rare_low} - one_bit)
    if wrong:
        raise UsageError(f"the protocol names {', '.join(wrong)}; it may name one-bit inputs only: {sorted(one_bit)}.")
