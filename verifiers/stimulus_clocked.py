"""Draws the rows of a clocked run. A clock and data never change in the same row, nor do two clocks."""

import random

from verifiers.stimulus_rows import Rows
from verifiers.stimulus_values import BitSource, VectorSource
from verifiers.types import Clock, Port, Protocol, Reset

_CYCLES = (120, 260)
_SEGMENT_CYCLES = (8, 40)
_FINAL_RESETS = (6, 10)
_CYCLES_BETWEEN_RESETS = (2, 14)
_STEADY_PHASES, _STEADY_CYCLES = 4, 300  # an 8-bit counter wraps in each
_STEADY_VALUES = 16


class ClockedRun:
    """The rows of one clocked run, built cycle by cycle. `vectors` draw the vectors, by the index of the input."""

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

    def draw(self, *, is_steady: bool) -> Rows:
        """The whole run: a reset, cycles with a few pulses of reset, many resets, and steady phases if asked for."""
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
        return Rows(self.rows, first_scored_row)

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
