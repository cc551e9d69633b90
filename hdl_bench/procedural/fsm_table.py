"""State machines drawn at random: Moore and Mealy, whole machines with a reset, given as a state table."""

import random

from hdl_bench.procedural.clocked import NUM_CLOCKINGS, case, draw_clocking, headed
from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.machines import StateTable, draw_table, state_names
from hdl_bench.procedural.verilog import inputs, literal, module, outputs

_SHAPES = {  # level -> choices of (states, input bits, output bits, is Moore)
    2: ((3, 1, 1, True), (3, 1, 2, True), (2, 1, 2, True), (3, 1, 3, True)),
    3: ((4, 1, 1, True), (4, 1, 2, True), (3, 2, 2, True), (3, 1, 1, False), (4, 1, 1, False)),
    4: ((5, 1, 2, True), (6, 1, 1, True), (4, 2, 2, True), (5, 1, 1, False), (4, 2, 1, False)),
    5: ((8, 1, 2, True), (7, 2, 2, True), (7, 1, 2, False), (6, 2, 2, False), (10, 1, 1, False)),
}


def draw(rng: random.Random, level: int) -> Design:
    num_states, input_bits, output_bits, is_moore = rng.choice(_SHAPES[level])
    clocking = draw_clocking(rng, has_both_edges=level >= 4)
    table = draw_table(rng, num_states=num_states, input_bits=input_bits, output_bits=output_bits, is_moore=is_moore)
    names = state_names(num_states)
    ports = clocking.ports + inputs(x=input_bits) + outputs(z=output_bits)
    describe = _moore_words if is_moore else _mealy_words
    body = "\n".join(
        (
            _encoding(names),
            clocking.always("state <= A;", case("state", _next_rows(table, names, input_bits))),
            headed("always @(*)", case("state", _output_rows(table, names, output_bits, is_moore))),
        )
    )
    return Design(
        params={**clocking.params, **table.params, "input_bits": input_bits, "output_bits": output_bits},
        ports=ports,
        descriptions=clocking.describe("the state to A", describe(table, names, input_bits, output_bits)),
        golden=module(ports, body, registers=("z",)),
        protocol=clocking.protocol(min_cycles=60 * num_states),
    )


def _encoding(names: tuple[str, ...]) -> str:
    bits = (len(names) - 1).bit_length()
    constants = ", ".join(f"{name} = {literal(bits, code)}" for code, name in enumerate(names))
    width = f"[{bits - 1}:0] " if bits > 1 else ""
    return f"localparam {constants};\nreg {width}state;"


def _select(entries: list[str], input_bits: int) -> str:
    """An expression of x that picks one of the entries (one for each value of x)."""
    if len(set(entries)) == 1:
        return entries[0]
    if input_bits == 1:
        return f"x ? {entries[1]} : {entries[0]}"
    picks = [f"x == {literal(input_bits, code)} ? {entry}" for code, entry in enumerate(entries[:-1])]
    return " : ".join([*picks, entries[-1]])


def _next_rows(table: StateTable, names: tuple[str, ...], input_bits: int) -> list[tuple[str, str]]:
    rows = zip(names, table.following, strict=True)
    return [(name, f"state <= {_select([names[new] for new in row], input_bits)};") for name, row in rows]


def _output_rows(table: StateTable, names: tuple[str, ...], output_bits: int, is_moore: bool) -> list[tuple[str, str]]:
    rows = []
    for name, row in zip(names, table.outputs, strict=True):
        values = [literal(output_bits, value, "b") for value in row]
        rows.append((name, f"z = {values[0] if is_moore else _select(values, len(values).bit_length() - 1)};"))
    # Before the first reset the state is unknown, and so is z.
    return [*rows, ("default", f"z = {output_bits}'bx;")]


def _moore_words(table: StateTable, names: tuple[str, ...], input_bits: int, output_bits: int) -> tuple[str, str, str]:
    codes = [format(code, f"0{input_bits}b") for code in range(1 << input_bits)]
    out = [format(row[0], f"0{output_bits}b") for row in table.outputs]
    into = [[names[new] for new in row] for row in table.following]
    rows = zip(names, into, out, strict=True)
    grid = "\n".join(f"  {name}     | {' | '.join(row)} | {value}" for name, row, value in rows)
    heading = " | ".join(f"next if x={code}" for code in codes)
    arrows = "; ".join(
        f"{name} (z={value}) " + ", ".join(f"--x={code}--> {new}" for code, new in zip(codes, row, strict=True))
        for name, row, value in zip(names, into, out, strict=True)
    )
    story = " ".join(
        f"In state {name} the output z is {value}; "
        + ", ".join(f"x = {code} leads to {new}" for code, new in zip(codes, row, strict=True))
        + "."
        for name, row, value in zip(names, into, out, strict=True)
    )
    return (
        "Implement the following Moore state machine. z depends on the present state only (it is not delayed by "
        f"another register); all values of x and z are binary.\n\n  state | {heading} | z\n{grid}",
        f"Moore machine, one transition per clock edge, z from the state alone (binary): {arrows}.",
        f"It is a Moore machine with {len(names)} states that looks at x at every clock edge and shows z for the state "
        f"it is in (values are binary). {story}",
    )


def _mealy_words(table: StateTable, names: tuple[str, ...], input_bits: int, output_bits: int) -> tuple[str, str, str]:
    codes = [format(code, f"0{input_bits}b") for code in range(1 << input_bits)]
    cells = [
        [(names[new], format(value, f"0{output_bits}b")) for new, value in zip(news, values, strict=True)]
        for news, values in zip(table.following, table.outputs, strict=True)
    ]
    heading = " | ".join(f"x={code}: next, z" for code in codes)
    grid = "\n".join(
        f"  {name}     | " + " | ".join(f"{new}, {value}" for new, value in row)
        for name, row in zip(names, cells, strict=True)
    )
    arrows = "; ".join(
        f"{name} " + ", ".join(f"--{code}/{value}--> {new}" for code, (new, value) in zip(codes, row, strict=True))
        for name, row in zip(names, cells, strict=True)
    )
    story = " ".join(
        f"In state {name}: "
        + ", ".join(
            f"x = {code} gives z = {value} and leads to {new}" for code, (new, value) in zip(codes, row, strict=True)
        )
        + "."
        for name, row in zip(names, cells, strict=True)
    )
    return (
        "Implement the following Mealy state machine. z is combinational: it depends on the present state and the "
        f"present x, also during reset; all values of x and z are binary.\n\n  state | {heading}\n{grid}",
        "Mealy machine, one transition per clock edge; an arrow --x/z--> gives the value of x and the unregistered "
        f"output z at the same time (binary): {arrows}.",
        f"It is a Mealy machine with {len(names)} states: z follows x at once, without a register, and the state "
        f"changes at the clock edge (values are binary). {story}",
    )


FAMILY = Family(
    name="fsm_table",
    summary="Moore and Mealy machines from random state tables",
    draw=draw,
    # Of the 8**8 tables of Moore machines with four states and two output bits alone, well over one in a hundred is
    # minimal and connected; times the reset styles.
    num_distinct=8**8 // 100 * (NUM_CLOCKINGS // 2),
    levels=(2, 3, 4, 5),
)
