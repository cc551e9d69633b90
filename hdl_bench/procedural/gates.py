"""Small gate networks of one-bit signals: one gate with inverted inputs up to three outputs from a dozen gates.

The truth table of the outputs is the parameter, so two networks of equal behaviour (De Morgan and the like) are one.
"""

import random
from dataclasses import dataclass

from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, listing, module, outputs
from verifiers.types import Protocol

_OPERATORS = {  # gate -> (Verilog operator, whether the result is inverted)
    "AND": ("&", False),
    "OR": ("|", False),
    "XOR": ("^", False),
    "NAND": ("&", True),
    "NOR": ("|", True),
    "XNOR": ("^", True),
}
_SHAPES = {1: (1, 1), 2: (2, 1), 3: (4, 1), 4: (7, 2), 5: (11, 3)}  # level -> number of gates, of outputs
_INPUTS = ("a", "b", "c", "d", "e", "f")
_OUTPUTS = {1: ("y",), 2: ("y", "z"), 3: ("x", "y", "z")}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Gate:
    """One gate: its kind, the nets it reads (a leading ~ is an inverter) and the net it drives."""

    kind: str
    operands: tuple[str, ...]
    net: str


def _draw_network(rng: random.Random, level: int) -> tuple[tuple[str, ...], list[_Gate]]:
    num_gates, num_outputs = _SHAPES[level]
    num_inputs = rng.randint(2, 6) if level == 1 else rng.randint(3, 4 if level < 4 else 5)
    names = _INPUTS[:num_inputs]
    gates: list[_Gate] = []
    unused = list(names)
    for index in range(num_gates):
        num_operands = num_inputs if level == 1 else rng.choice((2, 2, 3))
        is_output = index >= num_gates - num_outputs
        known = [*names, *(gate.net for gate in gates[: num_gates - num_outputs])]
        picked = rng.sample(unused, min(len(unused), num_operands))
        picked += rng.sample([net for net in known if net not in picked], num_operands - len(picked))
        unused = [net for net in unused if net not in picked]
        net = _OUTPUTS[num_outputs][index - num_gates + num_outputs] if is_output else f"n{index + 1}"
        operands = tuple(("~" if rng.random() < 0.3 else "") + name for name in picked)
        gates.append(_Gate(kind=rng.choice(list(_OPERATORS)), operands=operands, net=net))
        if not is_output:
            unused.append(net)
    return names, gates


def _tables(names: tuple[str, ...], gates: list[_Gate], nets: tuple[str, ...]) -> list[list[int]]:
    """For each of `nets`, its value at each input combination; the first input is the most significant bit."""
    rows = []
    for row in range(1 << len(names)):
        value = {name: row >> (len(names) - 1 - place) & 1 for place, name in enumerate(names)}
        for gate in gates:
            bits = [value[net.lstrip("~")] ^ net.startswith("~") for net in gate.operands]
            symbol, is_inverted = _OPERATORS[gate.kind]
            result = {"&": all(bits), "|": any(bits), "^": sum(bits) % 2 == 1}[symbol]
            value[gate.net] = int(result != is_inverted)
        rows.append([value[net] for net in nets])
    return [list(column) for column in zip(*rows, strict=True)]


def _is_interesting(tables: list[list[int]], num_inputs: int) -> bool:
    """Whether every input matters, each output depends on two inputs or more and no two outputs are equal."""
    depends = [
        {bit for bit in range(num_inputs) for row in range(len(table)) if table[row] != table[row ^ (1 << bit)]}
        for table in tables
    ]
    everything = set().union(*depends)
    return len(everything) == num_inputs and min(map(len, depends)) >= 2 and len(set(map(tuple, tables))) == len(tables)


def _verilog(gate: _Gate) -> str:
    symbol, is_inverted = _OPERATORS[gate.kind]
    expression = f" {symbol} ".join(gate.operands)
    return f"assign {gate.net} = " + (f"~({expression});" if is_inverted else f"{expression};")


def _spoken(operand: str) -> str:
    return f"(NOT {operand[1:]})" if operand.startswith("~") else operand


def draw(rng: random.Random, level: int) -> Design:
    nets = _OUTPUTS[_SHAPES[level][1]]
    names, gates = _draw_network(rng, level)
    while not _is_interesting(_tables(names, gates, nets), len(names)):
        names, gates = _draw_network(rng, level)
    tables = _tables(names, gates, nets)
    ports = inputs(**dict.fromkeys(names, 1)) + outputs(**dict.fromkeys(nets, 1))
    wires = [gate.net for gate in gates if gate.net not in nets]
    body = ([f"wire {', '.join(wires)};"] if wires else []) + [_verilog(gate) for gate in gates]
    return Design(
        params={"num_inputs": len(names), "tables": ",".join("".join(map(str, table)) for table in tables)},
        ports=ports,
        descriptions=(
            "Implement this combinational circuit. "
            + " ".join(f"{g.net} is the {g.kind} of {listing([_spoken(net) for net in g.operands])}." for g in gates),
            "Gate list (~ is an inverter in front of an input): "
            + "; ".join(f"{g.kind} gate with inputs {', '.join(g.operands)} drives {g.net}" for g in gates)
            + ". All other names than the ports are internal wires. There is no clock.",
            "Compute, with NOT binding tighter than any other operation: "
            + "; ".join(_equation(gate) for gate in gates)
            + ". The module is purely combinational.",
        ),
        golden=module(ports, "\n".join(body)),
        protocol=Protocol(),
    )


def _equation(gate: _Gate) -> str:
    symbol, is_inverted = _OPERATORS[gate.kind]
    word = {"&": "AND", "|": "OR", "^": "XOR"}[symbol]
    expression = f" {word} ".join(net.replace("~", "NOT ") for net in gate.operands)
    return f"{gate.net} = " + (f"NOT ({expression})" if is_inverted else expression)


FAMILY = Family(
    name="gates",
    summary="small gate networks of one-bit signals",
    draw=draw,
    num_distinct=10_000,  # level 1 has 258; 30,000 draws at level 5 give more than 10,000 different truth tables
)
