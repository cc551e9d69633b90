"""Which clock edge acts on each register, found by evaluating the netlists once on free inputs and a free state.

Refuses what is no input of the design: a derived or gated clock, asynchronous control or latch enable acts in the
middle of an edge, and what a simulator makes of that is a race.
"""

from dataclasses import dataclass

from verifiers.formal_aig import FALSE, TRUE, Aig, Bit, known_bit
from verifiers.formal_netlist import (
    Evaluation,
    Netlist,
    UnsupportedDesign,
    clock_of,
    clocked_value,
    level_control_of,
    loaded_value,
)
from verifiers.types import Port, Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class Edge:
    """A change of a clock input."""

    clock: str
    is_rising: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Clocking:
    """How the two designs are clocked.

    `has_levels`: the clocks' levels matter (several clocks, both edges, or a clock that is read as data), so that a
    step toggles at most one. Otherwise each step is one active edge; one that may be left out if `is_optional`.
    """

    has_levels: bool
    is_optional: bool
    triggers: tuple[dict[str, Edge], dict[str, Edge]]  # by flip-flop, of the golden and of the candidate


def find_clocking(netlists: tuple[Netlist, Netlist], ports: tuple[Port, ...], protocol: Protocol, aig: Aig) -> Clocking:
    """The clocking of both sides. `aig` is scratch. Raises UnsupportedDesign."""
    inputs = {port.name: [aig.variable() for _ in range(port.width)] for port in ports if port.direction == "input"}
    clocks = {inputs[clock.name][0]: clock.name for clock in protocol.clocks}
    bits = {name: [known_bit(literal) for literal in literals] for name, literals in inputs.items()}
    triggers, roots = [], []
    for netlist in netlists:
        state = {net: known_bit(aig.variable()) for net in netlist.state_bits}
        evaluation = netlist.evaluate(aig, bits, state)
        triggers.append(_triggers(netlist, evaluation, clocks))
        _check_level_controls(netlist, evaluation, {literal for part in inputs.values() for literal in part})
        roots.extend(_read_literals(aig, netlist, evaluation))
    edges = {edge for side in triggers for edge in side.values()}
    reached = aig.below(roots)
    is_read = any(literal >> 1 in reached for literal in clocks)
    return Clocking(
        has_levels=len(edges) > 1 or is_read or (len(clocks) > 1 and bool(edges)),
        is_optional=any(cell.has_level_control for netlist in netlists for cell in netlist.registers),
        triggers=tuple(triggers),
    )


def _triggers(netlist: Netlist, evaluation: Evaluation, clocks: dict[int, str]) -> dict[str, Edge]:
    found = {}
    for cell in netlist.registers:
        if cell.is_latch:
            continue
        control = clock_of(cell, evaluation)
        literal = control.bit[0]
        is_rising = control.is_active_high != bool(literal & 1)
        name = clocks.get(literal & ~1)
        if name is None or control.bit != known_bit(literal):
            raise UnsupportedDesign("the clock of a register is not a clock input of the problem")
        found[cell.name] = Edge(clock=name, is_rising=is_rising)
    return found


def _check_level_controls(netlist: Netlist, evaluation: Evaluation, inputs: set[int]) -> None:
    for cell in netlist.registers:
        control = level_control_of(cell, evaluation)
        if control is None:
            continue
        if control.bit[0] & ~1 not in inputs and control.bit[0] > TRUE:
            raise UnsupportedDesign("an asynchronous control or a latch enable is no input of the design")
        if not cell.is_latch and any(
            bit not in ((FALSE, TRUE), (TRUE, FALSE)) for bit in loaded_value(cell, evaluation)
        ):
            raise UnsupportedDesign("an asynchronous control loads a value that is not constant")


def _read_literals(aig: Aig, netlist: Netlist, evaluation: Evaluation) -> list[int]:
    """The literals of all outputs and next states, but for the clocks that trigger them."""
    bits: list[Bit] = [bit for nets in netlist.outputs.values() for bit in evaluation.read(nets)]
    for cell in netlist.registers:
        bits.extend(evaluation.read(cell.output) if cell.is_latch else clocked_value(aig, cell, evaluation))
    return [literal for bit in bits for literal in bit]
