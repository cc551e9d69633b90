"""One flattened module out of Yosys' JSON: cells in the order of evaluation, registers, ports.

Refuses what a netlist cannot say as a simulator would: several drivers of one bit, combinational loops, registers with
two asynchronous controls. It evaluates on any graph; what the clocks do is `formal_model`'s.
"""

import graphlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise

from verifiers.formal_aig import ONE, UNKNOWN, ZERO, Aig, Bit, bit_choice
from verifiers.formal_cells import CellInputs, UnsupportedCell, evaluate_cell

_CONSTANTS = {"0": ZERO, "1": ONE}
_UNKNOWN_NETS = ("x", "z", "kept")
_FLIP_FLOPS = ("$dff", "$dffe", "$adff", "$adffe", "$aldff", "$aldffe")
_LATCHES = ("$dlatch",)
_NO_VALUE = frozenset(("$scopeinfo", "$meminit"))
_BRANCH_CELL = "$procmux$"  # how `proc` names the multiplexers that it makes of if and case
_MEMORY_NET = "$memory"  # what a memory gives outside its addresses has no driver, and is x to a simulator too
_KEPT = "kept"  # in place of the old value of what a combinational block leaves unassigned


class UnsupportedDesign(Exception):
    """A design that has no faithful netlist. The message says why."""


NetBit = int | str  # the number of a net, or a constant's digit


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """A cell: numbers where the parameters are numbers, net bits by port, lowest first."""

    name: str
    kind: str
    parameters: dict[str, int]
    ports: dict[str, tuple[NetBit, ...]]

    @property
    def is_register(self) -> bool:
        return self.kind in _FLIP_FLOPS or self.kind in _LATCHES

    @property
    def is_branch(self) -> bool:
        """Whether it is a multiplexer out of an `if` or a `case`."""
        return self.name.startswith(_BRANCH_CELL) and "S" in self.ports

    @property
    def is_latch(self) -> bool:
        return self.kind in _LATCHES

    @property
    def has_level_control(self) -> bool:
        """Whether something other than a clock sets the register."""
        return self.is_latch or "ALOAD" in self.ports or "ARST" in self.ports

    @property
    def output(self) -> tuple[NetBit, ...]:
        return self.ports["Q" if self.is_register else "Y"]

    @property
    def level_inputs(self) -> tuple[str, ...]:
        """The input ports that the output follows at once."""
        if self.is_latch:
            return ("EN", "D")
        if self.is_register:
            return tuple(port for port in ("ALOAD", "AD", "ARST") if port in self.ports)
        return tuple(port for port in self.ports if port != "Y")


@dataclass(frozen=True, kw_only=True, slots=True)
class Control:
    """What acts on a register: the bit, and which level (or, of a clock, which new level) is active."""

    bit: Bit
    is_active_high: bool


@dataclass(slots=True)
class Evaluation:
    """The bits of all nets, for one set of inputs and one state."""

    draw_x: Callable[[], Bit]
    nets: dict[NetBit, Bit] = field(default_factory=lambda: dict(_CONSTANTS))
    kept: list[int] = field(default_factory=list)  # literals: a combinational block assigns nothing and keeps its value

    def read(self, bits: tuple[NetBit, ...]) -> list[Bit]:
        return [self.draw_x() if bit in _UNKNOWN_NETS else self.nets[bit] for bit in bits]


class Netlist:
    """A module of `write_json`. Raises UnsupportedDesign.

    `is_golden` refuses what floats: the value of an open net matches an x, yet it is no x to the simulator.
    """

    def __init__(self, module: dict, *, is_golden: bool) -> None:
        self.inputs: dict[str, tuple[NetBit, ...]] = {}
        self.outputs: dict[str, tuple[NetBit, ...]] = {}
        for name, port in module["ports"].items():
            side = {"input": self.inputs, "output": self.outputs}.get(port["direction"])
            if side is None:
                raise UnsupportedDesign(f"port {name} is neither an input nor an output")
            side[name] = tuple(port["bits"])
        cells = [_to_cell(name, cell) for name, cell in module["cells"].items() if cell["type"] not in _NO_VALUE]
        drivers = self._drivers(cells)
        self.open_nets = self._open_nets(cells, drivers)
        beyond = {
            bit for name, net in module["netnames"].items() if name.startswith(_MEMORY_NET) for bit in net["bits"]
        }
        if is_golden and (set(self.open_nets) - beyond or _floats(cells, self.outputs)):
            raise UnsupportedDesign("the golden has a net that nothing drives")
        self.cells = _in_order(cells, drivers)
        self.registers = tuple(cell for cell in self.cells if cell.is_register)
        self.state_bits: tuple[NetBit, ...] = tuple(bit for cell in self.registers for bit in cell.output)
        self.initial = self._initial(module["netnames"])

    def _drivers(self, cells: list[Cell]) -> dict[NetBit, int]:
        drivers: dict[NetBit, int] = {bit: -1 for bits in self.inputs.values() for bit in bits}
        num_bits = sum(len(bits) for bits in self.inputs.values())
        for index, cell in enumerate(cells):
            drivers.update(dict.fromkeys(cell.output, index))
            num_bits += len(cell.output)
        if len(drivers) != num_bits or any(isinstance(bit, str) for bit in drivers):
            raise UnsupportedDesign("a net has several drivers")
        return drivers

    def _open_nets(self, cells: list[Cell], drivers: dict[NetBit, int]) -> tuple[NetBit, ...]:
        read = {bit for bits in self.outputs.values() for bit in bits}
        for cell in cells:
            for port, bits in cell.ports.items():
                if port not in ("Y", "Q"):
                    read.update(bits)
        return tuple(bit for bit in read if isinstance(bit, int) and bit not in drivers)

    @property
    def has_x(self) -> bool:
        """Whether its source has an x, or anything that nothing drives."""
        used = {bit for cell in self.cells for bits in cell.ports.values() for bit in bits}
        return bool(self.open_nets) or not used.isdisjoint(("x", "z"))

    def _initial(self, netnames: dict) -> dict[NetBit, Bit]:
        """The initial value of each state bit: x where the source gives none."""
        initial = dict.fromkeys(self.state_bits, UNKNOWN)
        for net in netnames.values():
            digits = net["attributes"].get("init", "")
            for bit, digit in zip(net["bits"], reversed(digits), strict=False):
                if digit in "01":
                    if bit not in initial or initial[bit] not in (UNKNOWN, _CONSTANTS[digit]):
                        raise UnsupportedDesign("an initial value belongs to no register, or to one that has another")
                    initial[bit] = _CONSTANTS[digit]
        return initial

    def evaluate(
        self,
        aig: Aig,
        inputs: dict[str, list[Bit]],
        state: dict[NetBit, Bit],
        draw_x: Callable[[], Bit] = lambda: UNKNOWN,
    ) -> Evaluation:
        """The nets when the inputs have settled. `draw_x` gives what nothing drives, and each x of the source.

        Raises UnsupportedDesign for a cell that is not modelled.
        """
        evaluation = Evaluation(draw_x=draw_x)
        nets = evaluation.nets
        nets.update({net: draw_x() for net in self.open_nets})
        for name, bits in self.inputs.items():
            nets.update(zip(bits, inputs[name], strict=True))
        for cell in self.cells:
            values = {port: evaluation.read(cell.ports[port]) for port in cell.level_inputs}
            if cell.is_register:
                nets.update(zip(cell.output, _register_now(aig, cell, values, state), strict=True))
                continue
            if _KEPT in cell.ports.get("A", ()):
                evaluation.kept.append(aig.all_of(select[0] ^ 1 for select in values["S"]))
            found = CellInputs(aig, cell.parameters, values, cell.is_branch)
            try:
                nets.update(zip(cell.output, evaluate_cell(cell.kind, found), strict=True))
            except UnsupportedCell as error:
                raise UnsupportedDesign(str(error)) from error
        return evaluation


def clock_of(cell: Cell, evaluation: Evaluation) -> Control:
    """The clock of a flip-flop."""
    [bit] = evaluation.read(cell.ports["CLK"])
    return Control(bit=bit, is_active_high=bool(cell.parameters["CLK_POLARITY"]))


def level_control_of(cell: Cell, evaluation: Evaluation) -> Control | None:
    """What sets a register without a clock: the asynchronous load or reset, or a latch's enable."""
    for port, polarity in (("ALOAD", "ALOAD_POLARITY"), ("ARST", "ARST_POLARITY"), ("EN", "EN_POLARITY")):
        if port in cell.ports and (port != "EN" or cell.is_latch):
            [bit] = evaluation.read(cell.ports[port])
            return Control(bit=bit, is_active_high=bool(cell.parameters[polarity]))
    return None


def loaded_value(cell: Cell, evaluation: Evaluation) -> list[Bit]:
    """What an asynchronous load or reset gives to a flip-flop."""
    if "ARST" in cell.ports:
        return _constant(cell)
    return evaluation.read(cell.ports["AD"])


def clocked_value(aig: Aig, cell: Cell, evaluation: Evaluation) -> list[Bit]:
    """What a flip-flop takes at its clock edge, were it not for an asynchronous control."""
    data = evaluation.read(cell.ports["D"])
    if "EN" not in cell.ports:
        return data
    [enable] = evaluation.read(cell.ports["EN"])
    if not cell.parameters["EN_POLARITY"]:
        enable = (enable[1], enable[0])
    now = evaluation.read(cell.ports["Q"])
    return [bit_choice(aig, enable, new, old) for new, old in zip(data, now, strict=True)]


def _register_now(aig: Aig, cell: Cell, values: dict[str, list[Bit]], state: dict[NetBit, Bit]) -> list[Bit]:
    """The output of a register: its state, unless a level control is active."""
    held = [state[bit] for bit in cell.output]
    if cell.is_latch:
        port, polarity, data = "EN", "EN_POLARITY", values["D"]
    elif "ARST" in values:
        port, polarity, data = "ARST", "ARST_POLARITY", _constant(cell)
    elif "ALOAD" in values:
        port, polarity, data = "ALOAD", "ALOAD_POLARITY", values["AD"]
    else:
        return held
    [select] = values[port]
    if not cell.parameters[polarity]:
        select = (select[1], select[0])
    return [bit_choice(aig, select, new, old) for new, old in zip(data, held, strict=True)]


def _constant(cell: Cell) -> list[Bit]:
    value = cell.parameters["ARST_VALUE"]
    return [ONE if value >> index & 1 else ZERO for index in range(len(cell.output))]


def _to_cell(name: str, cell: dict) -> Cell:
    parameters = {key: int(text, 2) for key, text in cell["parameters"].items() if text and set(text) <= {"0", "1"}}
    ports = {port: tuple(bits) for port, bits in cell["connections"].items()}
    found = Cell(name=name, kind=cell["type"], parameters=parameters, ports=ports)
    if ("Q" in ports) != found.is_register or ("Y" in ports) == found.is_register:
        raise UnsupportedDesign(f"a cell of type {found.kind} is not modelled")
    if "ARST" in ports and "ARST_VALUE" not in parameters:
        raise UnsupportedDesign("a register is reset to x")
    return found


def _floats(cells: list[Cell], outputs: dict[str, tuple[NetBit, ...]]) -> bool:
    """Whether a z is used anywhere, or an output is nothing but x."""
    has_z = any("z" in bits for cell in cells for bits in cell.ports.values())
    return has_z or any(bit in ("x", "z") for bits in outputs.values() for bit in bits)


def _in_order(cells: list[Cell], drivers: dict[NetBit, int]) -> tuple[Cell, ...]:
    """The cells, each behind those that its output follows at once. Raises UnsupportedDesign for a loop.

    The front end takes a case with an item for every value as complete. Only an x then takes no item, and the block
    keeps its old value, which is a loop through the default of a branch: `_KEPT` takes its place there.
    """
    cells = list(cells)
    while True:
        below = {
            index: {drivers[bit] for port in cell.level_inputs for bit in cell.ports[port] if drivers.get(bit, -1) >= 0}
            for index, cell in enumerate(cells)
        }
        try:
            return tuple(cells[index] for index in graphlib.TopologicalSorter(below).static_order())
        except graphlib.CycleError as error:
            _cut(cells, drivers, error.args[1])


def _cut(cells: list[Cell], drivers: dict[NetBit, int], loop: list[int]) -> None:
    """Put `_KEPT` for a default in a loop, whose cells each drive the next. Raises UnsupportedDesign without one."""
    for driver, index in pairwise(loop):
        cell = cells[index]
        if cell.is_branch and any(drivers.get(bit) == driver for bit in cell.ports["A"]):
            default = tuple(_KEPT if drivers.get(bit) == driver else bit for bit in cell.ports["A"])
            cells[index] = replace(cell, ports=cell.ports | {"A": default})
            return
    raise UnsupportedDesign("there is a combinational loop")
