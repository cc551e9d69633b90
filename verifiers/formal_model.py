"""Golden and candidate as one machine with one output, `bad`: the golden says a bit and the candidate does not.

A step sets all inputs, lets both designs settle, compares, and then lets a clock edge act. Before anything is compared
resets are held as the stimulus holds them, with free data. A state bit that cannot become x has one latch, others two.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from verifiers.formal_aig import FALSE, TRUE, UNKNOWN, Aig, Bit, bits_if, inverted, is_known, known_bit
from verifiers.formal_clocks import Clocking, Edge
from verifiers.formal_netlist import Evaluation, NetBit, Netlist, clocked_value, level_control_of
from verifiers.types import Port, Protocol

RESET_ROUNDS = 2  # the fewest cycles over which the stimulus holds the resets

State = dict[NetBit, Bit]


@dataclass(frozen=True, kw_only=True, slots=True)
class InputStep:
    """The literals of one step's inputs by port, lowest bit first, and of the edges that act at its end."""

    inputs: dict[str, list[int]]
    events: dict[Edge, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """A transition system. `latches` are (variable, next literal), all 0 at first; `bad` is the only output.

    `says` is whether the golden has a known bit in a step: where it never has, nothing was compared.
    `prelude` tells how the first state came about: its variables count in the first step only.
    """

    aig: Aig
    variables: tuple[int, ...]
    latches: tuple[tuple[int, int], ...]
    bad: int
    says: int
    may_be_x: bool  # whether anything in the candidate may be x once the resets are over
    prelude: tuple[InputStep, ...]
    step: InputStep


class MachineBuilder:
    """Builds the machine of two netlists, the golden's first.

    With `frees_x` what is x in the candidate at the start, or in its source, is any value instead: a candidate that
    only the simulator's rules for x make right then differs.
    """

    def __init__(
        self,
        netlists: tuple[Netlist, Netlist],
        clocking: Clocking,
        ports: tuple[Port, ...],
        protocol: Protocol,
        aig: Aig,
        *,
        frees_x: bool = False,
    ) -> None:
        self._aig = aig
        self._frees_x = frees_x
        self._netlists = netlists
        self._clocking = clocking
        self._inputs = [port for port in ports if port.direction == "input"]
        self._clocks = [clock.name for clock in protocol.clocks]
        self._resets = {reset.name: reset for reset in protocol.resets}
        self._variables: list[int] = []
        self._hidden_clock = aig.variable()  # a clock whose level is left out: nothing reads it

    def build(self) -> Machine:
        """The machine. Raises UnsupportedDesign or AigTooLarge."""
        states: list[State] = [dict(netlist.initial) for netlist in self._netlists]
        if self._frees_x:
            free = {net: known_bit(self._variable()) for net, bit in states[1].items() if bit == UNKNOWN}
            states[1] |= free
        levels = dict.fromkeys(self._clocks, FALSE)
        prelude = []
        for plan in self._plan():
            step = self._input_step(levels, is_reset=plan.is_reset, events={plan.edge: plan.acts})
            states = [self._play(side, states[side], step)[1] for side in (0, 1)]
            levels = self._levels_after(levels, step)
            prelude.append(step)
        may_be_x: set[tuple[int, NetBit]] = set()
        while True:
            machine, unsteady = self._main_step(states, levels, may_be_x, tuple(prelude))
            if not unsteady:
                return machine
            may_be_x |= unsteady

    def _plan(self) -> Iterator["_PlannedStep"]:
        """The initial reset. Before an asynchronous one the stimulus may let one edge of the first clock pass."""
        if not self._resets or not self._clocks:
            return
        edges = (True, False) if self._clocking.has_levels else (True,)
        if any(not reset.is_synchronous for reset in self._resets.values()):
            acts = self._variable()
            for is_rising in edges:
                yield _PlannedStep(is_reset=False, edge=Edge(clock=self._clocks[0], is_rising=is_rising), acts=acts)
        for _ in range(RESET_ROUNDS):
            for clock in self._clocks:
                for is_rising in edges:
                    yield _PlannedStep(is_reset=True, edge=Edge(clock=clock, is_rising=is_rising), acts=TRUE)

    def _input_step(self, levels: dict[str, int], *, is_reset: bool | None, events: dict[Edge, int]) -> InputStep:
        """A step with fresh data. Resets are all active, all inactive or (None) free."""
        inputs = {}
        for port in self._inputs:
            if port.name in levels:
                inputs[port.name] = [levels[port.name] if self._clocking.has_levels else self._hidden_clock]
            elif is_reset is not None and port.name in self._resets:
                inputs[port.name] = [int(is_reset == self._resets[port.name].is_active_high)]
            else:
                inputs[port.name] = [self._variable() for _ in range(port.width)]
        return InputStep(inputs=inputs, events=events)

    def _variable(self) -> int:
        self._variables.append(self._aig.variable())
        return self._variables[-1]

    def _free_events(self, levels: dict[str, int]) -> dict[Edge, int]:
        """The edges of a step of the run proper: any one clock toggles, or none."""
        if not self._clocks:
            return {}
        if not self._clocking.has_levels:
            return {
                Edge(clock=self._clocks[0], is_rising=True): self._variable() if self._clocking.is_optional else TRUE
            }
        events, is_free = {}, TRUE
        for clock, level in levels.items():
            toggles = self._aig.land(self._variable(), is_free)
            is_free = self._aig.land(is_free, toggles ^ 1)
            events[Edge(clock=clock, is_rising=True)] = self._aig.land(toggles, level ^ 1)
            events[Edge(clock=clock, is_rising=False)] = self._aig.land(toggles, level)
        return events

    def _levels_after(self, levels: dict[str, int], step: InputStep) -> dict[str, int]:
        after = dict(levels)
        if self._clocking.has_levels:
            for edge, acts in step.events.items():
                after[edge.clock] = self._aig.lmux(acts, int(edge.is_rising), after[edge.clock])
        return after

    def _play(self, side: int, state: State, step: InputStep) -> tuple[Evaluation, State]:
        """A side's nets in a step, and its state behind the step's edge."""
        aig, netlist = self._aig, self._netlists[side]
        inputs = {name: [known_bit(literal) for literal in literals] for name, literals in step.inputs.items()}
        if side == 1 and self._frees_x:
            evaluation = netlist.evaluate(aig, inputs, state, lambda: known_bit(self._variable()))
        else:
            evaluation = netlist.evaluate(aig, inputs, state)
        after: State = {}
        for cell in netlist.registers:
            following = now = evaluation.read(cell.output)
            if not cell.is_latch:
                acts = self._acts(self._clocking.triggers[side][cell.name], step)
                control = level_control_of(cell, evaluation)
                if control is not None:
                    active = control.bit if control.is_active_high else inverted(control.bit)
                    acts = aig.land(acts, active[0] ^ 1)
                following = bits_if(aig, acts, clocked_value(aig, cell, evaluation), now)
            after.update(zip(cell.output, following, strict=True))
        return evaluation, after

    def _acts(self, trigger: Edge, step: InputStep) -> int:
        if self._clocking.has_levels:
            return step.events.get(trigger, FALSE)
        [acts] = step.events.values()
        return acts

    def _main_step(
        self,
        states: list[State],
        levels: dict[str, int],
        may_be_x: set[tuple[int, NetBit]],
        prelude: tuple[InputStep, ...],
    ) -> tuple[Machine, set[tuple[int, NetBit]]]:
        """The machine, and the state bits that have one latch although a step may make them x."""
        latches = _Latches(self._aig)
        current: list[State] = []
        for side in (0, 1):
            single = {net for net, bit in states[side].items() if is_known(bit) and (side, net) not in may_be_x}
            current.append({net: latches.bit(bit, is_single=net in single) for net, bit in states[side].items()})
        now_levels = {
            clock: latches.literal(level) if self._clocking.has_levels else level for clock, level in levels.items()
        }
        step = self._input_step(now_levels, is_reset=None, events=self._free_events(now_levels))
        played = [self._play(side, current[side], step) for side in (0, 1)]
        unsteady = set()
        for side, (_, after) in enumerate(played):
            for net in states[side]:
                is_single = is_known(current[side][net])
                if is_single and not is_known(after[net]):
                    unsteady.add((side, net))
                latches.follow(*(after[net][:1] if is_single else after[net]))
        if self._clocking.has_levels:
            latches.follow(*self._levels_after(now_levels, step).values())
        machine = Machine(
            aig=self._aig,
            variables=tuple(self._variables),
            latches=latches.finished(),
            bad=self._differs([evaluation for evaluation, _ in played]),
            says=self._says(played[0][0]),
            may_be_x=self._netlists[1].has_x
            or any(not is_known(bit) for bit in current[1].values())
            or any(literal != FALSE for literal in played[1][0].kept),
            prelude=prelude,
            step=step,
        )
        return machine, unsteady

    def _says(self, golden: Evaluation) -> int:
        bits = [bit for nets in self._netlists[0].outputs.values() for bit in golden.read(nets)]
        return self._aig.any_of(self._aig.lor(*bit) for bit in bits)

    def _differs(self, evaluations: list[Evaluation]) -> int:
        """Whether a golden bit is known and the candidate's is not the same.

        Or whether the golden keeps a value that the netlist does not hold: nothing is claimed of such a state.
        """
        aig, [golden, candidate] = self._aig, self._netlists
        pairs = [
            pair
            for name, nets in golden.outputs.items()
            for pair in zip(evaluations[0].read(nets), evaluations[1].read(candidate.outputs[name]), strict=True)
        ]
        differences = [aig.lor(aig.land(want[0], got[0] ^ 1), aig.land(want[1], got[1] ^ 1)) for want, got in pairs]
        return aig.any_of((*differences, *evaluations[0].kept))


@dataclass(frozen=True, kw_only=True, slots=True)
class _PlannedStep:
    """A step of the initial reset: the level of all resets, and one edge with the literal of whether it acts."""

    is_reset: bool
    edge: Edge
    acts: int


class _Latches:
    """The latches of a machine, all 0 at first.

    A state bit that begins with 1 is the complement of its latch; one whose first value is no constant takes that in
    the first step, which a latch of its own tells apart.
    """

    def __init__(self, aig: Aig) -> None:
        self._aig = aig
        self._variables: list[int] = []
        self._flips: list[int] = []
        self._following: list[int] = []
        self._not_first: int | None = None  # made when it is needed: a machine without latches is combinational

    def literal(self, first: int) -> int:
        """The present value of a new latch."""
        variable = self._aig.variable()
        self._variables.append(variable)
        self._flips.append(int(first == TRUE))
        if first <= TRUE:
            return variable ^ first
        if self._not_first is None:
            self._not_first = self._aig.variable()
        return self._aig.lmux(self._not_first, variable, first)

    def bit(self, first: Bit, *, is_single: bool) -> Bit:
        """A new state bit: of one latch, or of two."""
        if is_single:
            return known_bit(self.literal(first[0]))
        return (self.literal(first[0]), self.literal(first[1]))

    def follow(self, *literals: int) -> None:
        """The next values of the latches, in the order in which these were made."""
        for literal in literals:
            self._following.append(literal ^ self._flips[len(self._following)])

    def finished(self) -> tuple[tuple[int, int], ...]:
        marker = () if self._not_first is None else ((self._not_first, TRUE),)
        return (*zip(self._variables, self._following, strict=True), *marker)
