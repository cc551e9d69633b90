"""Functions of one-bit inputs that the prompt gives as a truth table, a list of minterms or the output column."""

import random

from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, listing, literal, module, outputs
from verifiers.types import Protocol

_SHAPES = {1: ((2, 2), (3, 1)), 2: ((4, 1), (3, 2)), 3: ((4, 2),), 4: ((5, 1), (4, 3)), 5: ((6, 1), (5, 3))}
_INPUTS = {2: ("a", "b"), 3: ("a", "b", "c"), 4: ("a", "b", "c", "d"), 5: tuple("abcde"), 6: tuple("abcdef")}
_OUTPUTS = {1: ("y",), 2: ("y", "z"), 3: ("x", "y", "z")}


def draw(rng: random.Random, level: int) -> Design:
    num_inputs, num_outputs = rng.choice(_SHAPES[level])
    num_rows = 1 << num_inputs
    tables = [rng.randrange(1, (1 << num_rows) - 1) for _ in range(num_outputs)]  # bit i is the output of row i
    names, nets = _INPUTS[num_inputs], _OUTPUTS[num_outputs]
    ports = inputs(**dict.fromkeys(names, 1)) + outputs(**dict.fromkeys(nets, 1))
    columns = {net: [table >> row & 1 for row in range(num_rows)] for net, table in zip(nets, tables, strict=True)}
    return Design(
        params={"num_inputs": num_inputs, "tables": ",".join(f"{table:0{num_rows // 4}x}" for table in tables)},
        ports=ports,
        descriptions=_descriptions(names, columns),
        golden=module(ports, _golden(names, columns), registers=nets),
        protocol=Protocol(),
    )


def _golden(names: tuple[str, ...], columns: dict[str, list[int]]) -> str:
    lines = ["always @(*) begin"]
    for net, column in columns.items():
        ones = [literal(len(names), row) for row, value in enumerate(column) if value]
        lines += [f"  case ({{{', '.join(names)}}})", f"    {', '.join(ones)}: {net} = 1'b1;"]
        lines += [f"    default: {net} = 1'b0;", "  endcase"]
    return "\n".join([*lines, "end"])


def _descriptions(names: tuple[str, ...], columns: dict[str, list[int]]) -> tuple[str, ...]:
    num_rows = 1 << len(names)
    header = f"{' '.join(names)} | {' '.join(columns)}"
    rows = [
        f"{' '.join(f'{row:0{len(names)}b}')} | {' '.join(str(column[row]) for column in columns.values())}"
        for row in range(num_rows)
    ]
    packed = "{" + ", ".join(names) + "}"
    ones = [
        f"{net} is 1 when that number is one of {', '.join(str(row) for row in range(num_rows) if column[row])}"
        for net, column in columns.items()
    ]
    strings = [f"for {net}: {''.join(map(str, column))}" for net, column in columns.items()]
    return (
        "Implement the combinational function with this truth table:\n\n" + "\n".join([header, *rows]),
        f"Read {listing(names)} as the unsigned number {packed}, with {names[0]} as the most significant bit. "
        f"{'; '.join(ones)}. For every other number the output is 0. The circuit is combinational.",
        f"A lookup without a clock. Let the index be the {len(names)}-bit number {packed} ({names[0]} is the most "
        f"significant bit). Each string below holds the output for index 0 as its first (leftmost) character, for "
        f"index {num_rows - 1} as its last: {'; '.join(strings)}.",
    )


FAMILY = Family(
    name="truth_table",
    summary="functions given as a truth table, minterms or an output column",
    draw=draw,
    num_distinct=14**2 + 254 + 65_534 + 254**2 + 65_534**2,  # levels 1 to 3 alone
)
