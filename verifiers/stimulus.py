"""Draws the input rows that a design is driven with, from a seed and its protocol. Runs no simulator.

A row is one full vector of all inputs, clocks and resets too, held for one row time and sampled at its end. A clock
and data never change in the same row, nor do two clocks, nor do an asynchronous reset and anything else: what a design
sees at an edge is never a race. Without a clock one input changes a row, so that latches see no race either. No row
repeats the one before it.
"""

import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from operator import lshift
from typing import NamedTuple

from toolchain.errors import UsageError
from verifiers.stimulus_values import BitSource, VectorSource
from verifiers.types import Clock, Port, Protocol, Reset

EXHAUSTIVE_BITS = 10  # a clockless design with at most this many input bits sees every input vector
_CLOCKLESS_ROWS = (500, 800)
_CYCLES = (120, 260)
_SEGMENT_CYCLES = (8, 40)
_CYCLES_WITHOUT_INPUTS = 4
_FINAL_RESETS = (6, 10)
_CYCLES_BETWEEN_RESETS = (2, 14)
_STEADY_PHASES, _STEADY_CYCLES = 4, 300  # an 8-bit counter wraps in each
_STEADY_VALUES = 16


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


class _Rows(NamedTuple):
    """Rows as they are drawn, `rows[i][j]` the value of input j in row i."""

    rows: list[tuple[int, ...]]
    first_scored_row: int = 0


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
    drawn = _with_one_hot(_draw(inputs, protocol, seed, literals, is_steady), inputs, protocol)
    rows, first_scored_row = _without_repeats(drawn) if inputs else drawn
    return Stimulus.of_rows(rows, inputs=inputs, seed=seed, first_scored_row=first_scored_row)


def _without_repeats(drawn: _Rows) -> _Rows:
    """The rows that change something: a design sees no others, and each costs simulator time."""
    rows = drawn.rows
    places = [0, *(place for place, (last, row) in enumerate(pairwise(rows), start=1) if row != last)]
    # The kept row that stands in the place of the first scored one.
    return _Rows([rows[place] for place in places], bisect_right(places, drawn.first_scored_row) - 1)


def _with_one_hot(drawn: _Rows, inputs: tuple[Port, ...], protocol: Protocol) -> _Rows:
    """The rows with each value of a one-hot input turned into one bit: what changed alone still does."""
    widths = {port.name: port.width for port in inputs if port.width > 1}
    wrong = sorted(set(protocol.one_hot) - set(widths))
    if wrong:
        raise UsageError(f"the protocol names {', '.join(wrong)} one-hot; it may name vector inputs: {sorted(widths)}.")
    if not protocol.one_hot:
        return drawn
    turned = [port.width if port.name in protocol.one_hot else 0 for port in inputs]
    return drawn._replace(
        rows=[
            tuple(1 << value % width if width else value for value, width in zip(row, turned, strict=True))
            for row in drawn.rows
        ]
    )


def _draw(inputs: tuple[Port, ...], protocol: Protocol, seed: int, literals: tuple[int, ...], is_steady: bool) -> _Rows:
    _check_names(inputs, protocol)
    rng = random.Random(seed)
    if not inputs:
        return _Rows([()] * _CYCLES_WITHOUT_INPUTS)
    sources = {i: VectorSource(inputs, i, literals) for i, port in enumerate(inputs) if port.width > 1}
    if not protocol.clocks:
        return _draw_clockless(inputs, protocol, rng, sources)
    return _ClockedRun(inputs, protocol, rng, sources).draw(is_steady=is_steady)


def _check_names(inputs: tuple[Port, ...], protocol: Protocol) -> None:
    one_bit = {port.name for port in inputs if port.width == 1}
    named = [clock.name for clock in protocol.clocks] + [reset.name for reset in protocol.resets]
    wrong = sorted({*named, *protocol.rare_high, *protocol.rare_low} - one_bit)
    if wrong:
        raise UsageError(f"the protocol names {', '.join(wrong)}; it may name one-bit inputs only: {sorted(one_bit)}.")


def _draw_clockless(
    inputs: tuple[Port, ...], protocol: Protocol, rng: random.Random, sources: dict[int, VectorSource]
) -> _Rows:
    rows = _walk_all(inputs, rng) if sum(port.width for port in inputs) <= EXHAUSTIVE_BITS else []
    first_scored_row = 0
    current = list(rows[-1]) if rows else [0] * len(inputs)
    active = {reset.name: int(reset.is_active_high) for reset in protocol.resets}
    if active and not rows:
        current = [1 - active[port.name] if port.name in active else 0 for port in inputs]
        rows.append(tuple(current))
        for index, port in enumerate(inputs):
            if port.name in active:
                current[index] = active[port.name]
                rows.append(tuple(current))
        first_scored_row = len(rows) - 1
    target = len(rows) + rng.randint(*_CLOCKLESS_ROWS) // (2 if len(rows) > 200 else 1)
    while len(rows) < target:
        for index in rng.sample(range(len(inputs)), rng.randint(1, len(inputs))):
            source = sources.get(index)
            current[index] = source.draw(current, rng) if source else _clockless_bit(inputs[index], protocol, rng)
            rows.append(tuple(current))
    return _Rows(rows, first_scored_row)


def _clockless_bit(port: Port, protocol: Protocol, rng: random.Random) -> int:
    if port.name in protocol.rare_high:
        return int(rng.random() < 1 / 16)
    if port.name in protocol.rare_low:
        return int(rng.random() >= 1 / 16)
    for reset in protocol.resets:
        if port.name == reset.name:
            return int(reset.is_active_high) ^ int(rng.random() < 7 / 8)
    return rng.getrandbits(1)


def _walk_all(inputs: tuple[Port, ...], rng: random.Random) -> list[tuple[int, ...]]:
    """Every input vector once, in a random mixed-radix Gray order: neighbours differ in one input."""
    values = [rng.sample(range(1 << port.width), 1 << port.width) for port in inputs]
    order = rng.sample(range(len(inputs)), len(inputs))
    digits, steps = [0] * len(inputs), [1] * len(inputs)
    rows = []
    while True:
        rows.append(tuple(values[i][digits[i]] for i in range(len(inputs))))
        for i in order:
            if 0 <= digits[i] + steps[i] < len(values[i]):
                digits[i] += steps[i]
                break
            steps[i] = -steps[i]
        else:
            return rows


class _ClockedRun:
    """The rows of one clocked run, built cycle by cycle."""

    def __init__(
        self, inputs: tuple[Port, ...], protocol: Protocol, rng: random.Random, vectors: dict[int, VectorSource]
    ) -> None:
        self.inputs, self.protocol, self.rng = inputs, protocol, rng
        self.index = {port.name: i for i, port in enumerate(inputs)}
        special = {clock.name for clock in protocol.clocks} | {reset.name for reset in protocol.resets}
        self.data = [i for i, port in enumerate(inputs) if port.name not in special]
        self.bits: dict[int, BitSource] = {}
        self.vectors = vectors
        self.current = [0] * len(inputs)
        self.rows: list[tuple[int, ...]] = []
        for reset in protocol.resets:
            self.current[self.index[reset.name]] = int(not reset.is_active_high)

    def draw(self, *, is_steady: bool) -> _Rows:
        self._new_segment()
        self._change_data()
        self._emit()
        first_scored_row = self._initial_reset()
        num_cycles = self.rng.randint(*_CYCLES) + self.protocol.min_cycles
        pulses = self._draw_pulses(num_cycles)
        segment_end = 0
        for cycle in range(num_cycles):
            if cycle >= segment_end:
                self._new_segment()
                segment_end = cycle + self.rng.randint(*_SEGMENT_CYCLES)
            pulse = pulses.get(cycle)
            if pulse is None:
                self._cycle()
            else:
                self._pulse(pulse, glitch_fraction=0.25)
        for reset in self.protocol.resets:
            self._reset_often(reset)
        for _ in range(_STEADY_PHASES if is_steady else 0):
            self._stay()
        return _Rows(self.rows, first_scored_row)

    def _initial_reset(self) -> int:
        """Hold every reset over two or three cycles of every clock; the first row with all of it seen is returned."""
        if not self.protocol.resets:
            return 0
        for reset in self.protocol.resets:
            self._set_reset(reset, is_active=True)
        for _ in range(self.rng.randint(2, 3)):
            for clock in self.protocol.clocks:
                self._change_data()
                self._emit()
                self._toggle(clock)
                self._toggle(clock)
        first_scored_row = len(self.rows) - 1
        for reset in self.protocol.resets:
            self._set_reset(reset, is_active=False)
        return first_scored_row

    def _draw_pulses(self, num_cycles: int) -> dict[int, Reset]:
        """At which cycles which reset is pulsed: a few, none before `min_cycles` have run undisturbed."""
        first = max(4, self.protocol.min_cycles)
        pulses = {}
        for reset in self.protocol.resets:
            for _ in range(self.rng.randint(3, 6)):
                pulses[self.rng.randrange(first, num_cycles)] = reset
        return pulses

    def _pulse(self, reset: Reset, *, glitch_fraction: float) -> None:
        """One cycle under reset; an asynchronous one is over before any clock edge in a fraction of the cases."""
        if not reset.is_synchronous and self.rng.random() < glitch_fraction:
            is_odd_phase = self.rng.random() < 0.5
            if is_odd_phase:
                self._toggle(self.protocol.clocks[0])
            for level in (int(reset.is_active_high), int(not reset.is_active_high)):
                self.current[self.index[reset.name]] = level
                self._emit()
            if is_odd_phase:
                self._toggle(self.protocol.clocks[0])
            return
        self._set_reset(reset, is_active=True)
        self._cycle()
        self._set_reset(reset, is_active=False)

    def _reset_often(self, reset: Reset) -> None:
        """Reset in the middle of things again and again: what a reset leaves behind shows in the cycles after it."""
        for _ in range(self.rng.randint(*_FINAL_RESETS)):
            self._new_segment()
            for _ in range(self.rng.randint(*_CYCLES_BETWEEN_RESETS)):
                self._cycle()
            self._pulse(reset, glitch_fraction=0.5)
        for _ in range(_CYCLES_BETWEEN_RESETS[1]):
            self._cycle()

    def _stay(self) -> None:
        """Give every input a small value, then run only the clocks."""
        for i in self.data:
            self.current[i] = self.rng.randrange(min(_STEADY_VALUES, 1 << self.inputs[i].width))
        self._emit()
        for _ in range(_STEADY_CYCLES):
            for clock in self.protocol.clocks:
                self._toggle(clock)
                self._toggle(clock)

    def _set_reset(self, reset: Reset, *, is_active: bool) -> None:
        """Change a reset in a row of its own, in the low phase; an asynchronous one in any phase."""
        index, level = self.index[reset.name], int(is_active == reset.is_active_high)
        is_odd_phase = not reset.is_synchronous and self.rng.random() < 0.5
        if is_odd_phase:
            self._toggle(self.protocol.clocks[0])
        self.current[index] = level
        self._emit()
        if is_odd_phase:
            self._toggle(self.protocol.clocks[0])

    def _cycle(self) -> None:
        """One cycle of the only clock, or as many toggles of several clocks in random order."""
        clocks = self.protocol.clocks
        for phase in range(2 * len(clocks)):
            clock: Clock = clocks[0] if len(clocks) == 1 else self.rng.choice(clocks)
            if self.data and (phase % 2 == 0 or clock.edge == "both" or self.rng.random() < 0.25):
                self._change_data()
                self._emit()
            self._toggle(clock)

    def _toggle(self, clock: Clock) -> None:
        self.current[self.index[clock.name]] ^= 1
        self._emit()

    def _emit(self) -> None:
        self.rows.append(tuple(self.current))

    def _new_segment(self) -> None:
        self.bits = {
            i: BitSource.draw_for(self.inputs[i].name, self.protocol, self.rng)
            for i in self.data
            if self.inputs[i].width == 1
        }
        for vector in self.vectors.values():
            vector.redraw_stickiness(self.rng)

    def _change_data(self) -> None:
        for i in self.data:
            vector = self.vectors.get(i)
            if vector is not None:
                self.current[i] = vector.draw(self.current, self.rng)
            else:
                self.current[i] = self.bits[i].draw(self.current[i], self.rng)
