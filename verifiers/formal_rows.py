"""Turns a trace of the machine into input rows for a simulator: the machine's steps, one change after the other.

A step's inputs change first, then its clock edge. As in a stimulus a clock, a reset and data never change in one row,
and without a clock one input changes a row.
"""

from collections.abc import Sequence

from verifiers.formal_model import InputStep, Machine
from verifiers.types import Port, Protocol


class RowWriter:
    """Builds the rows of one trace."""

    def __init__(self, ports: tuple[Port, ...], protocol: Protocol) -> None:
        self._inputs = [port for port in ports if port.direction == "input"]
        self._clocks = [clock.name for clock in protocol.clocks]
        self._resets = [reset.name for reset in protocol.resets]
        self._values = {port.name: 0 for port in self._inputs}
        self._values |= {reset.name: int(not reset.is_active_high) for reset in protocol.resets}
        self.rows: list[tuple[int, ...]] = []

    def write(self, machine: Machine, trace: Sequence[dict[int, int]], *, has_levels: bool) -> int:
        """Append the rows of a trace; the first row that is compared is returned."""
        state = dict.fromkeys((variable for variable, _ in machine.latches), 0)
        first_scored_row = 0
        for number, given in enumerate(trace):
            words = machine.aig.simulate(state | given, 1)
            if number == 0:
                for step in machine.prelude:
                    self._play(step, words, has_levels=has_levels)
                first_scored_row = max(0, len(self.rows) - 1)
            self._play(machine.step, words, has_levels=has_levels)
            state = {variable: _value(words, following) for variable, following in machine.latches}
        return first_scored_row

    def _play(self, step: InputStep, words: list[int], *, has_levels: bool) -> None:
        wanted = {
            name: sum(_value(words, literal) << place for place, literal in enumerate(literals))
            for name, literals in step.inputs.items()
            if name not in self._clocks
        }
        if not self.rows:
            self._values |= {name: value for name, value in wanted.items() if name not in self._resets}
            self._emit()
        self._change(wanted)
        for edge, literal in step.events.items():
            if _value(words, literal):
                clock = edge.clock if has_levels else self._clocks[0]
                for _ in range(1 if has_levels else 2):
                    self._values[clock] ^= 1
                    self._emit()

    def _change(self, wanted: dict[str, int]) -> None:
        """What falls goes first and what rises last: a latch then closes before its data changes."""
        changed = [name for name, value in wanted.items() if self._values[name] != value]
        data = [name for name in changed if name not in self._resets]
        groups = [[name] for name in changed if name in self._resets]
        if self._clocks:
            groups += [data] if data else []
        else:
            groups += [[name] for name in sorted(data, key=lambda name: wanted[name] - self._values[name])]
        for group in groups:
            self._values |= {name: wanted[name] for name in group}
            self._emit()

    def _emit(self) -> None:
        self.rows.append(tuple(self._values[port.name] for port in self._inputs))


def _value(words: list[int], literal: int) -> int:
    return words[literal >> 1] & 1 ^ literal & 1
