"""The combinational half of a state machine: next state and output from the present state, binary or one-hot."""

import random

from hdl_bench.procedural.clocked import case, headed
from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, literal, module, outputs
from verifiers.types import Port, Protocol

_LEVELS = {  # level -> (encoding, states, is output Moore)
    2: ("binary", (4,), True),
    3: ("one_hot", (4, 5), True),
    4: ("binary", (5, 6, 7), False),
    5: ("one_hot", (8, 9, 10), False),
}


def draw(rng: random.Random, level: int) -> Design:
    encoding, sizes, is_moore = _LEVELS[level]
    num_states = rng.choice(sizes)
    following = [[rng.randrange(num_states) for _ in "01"] for _ in range(num_states)]
    outs = [[rng.randrange(2)] * 2 if is_moore else [rng.randrange(2) for _ in "01"] for _ in range(num_states)]
    # One bit an entry is not enough for a task: some output is 1, some 0.
    outs[0], outs[-1] = ([0, 0], [1, 1]) if rng.random() < 0.5 else ([1, 1], [0, 0])
    width = num_states if encoding == "one_hot" else (num_states - 1).bit_length()
    ports = inputs(x=1, state=width) + outputs(next_state=width, z=1)
    make = _one_hot if encoding == "one_hot" else _binary
    golden, descriptions = make(ports, following, outs)
    return Design(
        params={
            "encoding": encoding,
            "following": ";".join(",".join(map(str, row)) for row in following),
            "outputs": ";".join(",".join(map(str, row)) for row in outs),
        },
        ports=ports,
        descriptions=descriptions,
        golden=golden,
        protocol=Protocol(),
    )


def _binary(ports: tuple[Port, ...], following: list[list[int]], outs: list[list[int]]) -> tuple[str, tuple[str, ...]]:
    """All codes below the number of states are used; the others, if any, lead to state 0 with output 0."""
    width, rows, lines, arrows = ports[1].width, [], [], []
    for code, (news, values) in enumerate(zip(following, outs, strict=True)):
        label = literal(width, code)
        new = _choice(*(literal(width, number) for number in news))
        out = _choice(*(literal(1, value, "b") for value in values))
        rows.append((label, f"{{next_state, z}} = {{{new}, {out}}};"))
        lines.append(f"  {code} | {news[0]}, {values[0]} | {news[1]}, {values[1]}")
        arrows.append(
            f"state {code}: " + ", ".join(f"x = {x} gives next_state = {news[x]} and z = {values[x]}" for x in (0, 1))
        )
    if len(following) < 1 << width:
        rest = f"A state of {len(following)} or more is not used: it gives next_state = 0 and z = 0 for either x."
    else:
        rest = "All values of state are used."
    # With every code listed, an unknown state gives unknown outputs; with codes to spare, default is for them.
    default = f"{{next_state, z}} = {literal(width + 1, 0)};" if len(following) < 1 << width else ""
    body = headed("always @(*)", case("state", rows, default=default))
    descriptions = (
        "The module is the combinational next-state and output logic of a state machine whose state register is "
        "elsewhere. States are numbers in binary code. Each row gives next_state and z for x = 0 and for x = 1.\n\n"
        "  state | x=0: next_state, z | x=1: next_state, z\n" + "\n".join(lines) + f"\n\n{rest}",
        "No clock, no registers. " + "; ".join(arrows) + f". {rest}",
        "Only the logic between the flip-flops of a state machine is wanted: from the present state and the input x, "
        "work out the state to come and the output. In " + ". In ".join(arrows) + f". {rest}",
    )
    return module(ports, body, registers=("next_state", "z")), descriptions


def _one_hot(ports: tuple[Port, ...], following: list[list[int]], outs: list[list[int]]) -> tuple[str, tuple[str, ...]]:
    """Bit i of the state stands for state i; every bit is the OR of its transitions, whatever the state vector."""
    lines = [f"assign next_state[{new}] = {_any_of(following, new)};" for new in range(len(following))]
    lines.append(f"assign z = {_any_of(outs, 1)};")
    table = "\n".join(
        f"  {code} | {news[0]}, {values[0]} | {news[1]}, {values[1]}"
        for code, (news, values) in enumerate(zip(following, outs, strict=True))
    )
    arrows = "; ".join(
        f"{code} " + ", ".join(f"--x={x}/z={values[x]}--> {news[x]}" for x in (0, 1))
        for code, (news, values) in enumerate(zip(following, outs, strict=True))
    )
    story = " ".join(
        f"From state {code}, x = {x} goes to state {news[x]} with z = {values[x]}."
        for code, (news, values) in enumerate(zip(following, outs, strict=True))
        for x in (0, 1)
    )
    descriptions = (
        "The module is the combinational next-state and output logic of a state machine with one-hot states: state[i] "
        "and next_state[i] stand for state i. Each row gives the next state and z for x = 0 and for x = 1. Derive the "
        "equations by inspection, also for inputs that are not one-hot: next_state[j] is the OR of state[i] over all "
        "states i that go to j under the present x, and z is the OR of state[i] over all i whose row has z = 1 under "
        f"the present x.\n\n  i | x=0: next, z | x=1: next, z\n{table}",
        f"One-hot next-state and output logic, no clock: {arrows}. If several bits of state are 1, next_state and z "
        "are the bitwise OR of what each would give alone; if none is, all are 0.",
        "Write the logic, without flip-flops, of a state machine whose state i is stored as bit i of a one-hot vector: "
        "state holds the present one, next_state gets the one to come. "
        f"{story} Should the vector hold several ones, every one of them acts on its own and the results are ORed "
        "together; an all-zero vector gives zeros.",
    )
    return module(ports, "\n".join(lines)), descriptions


def _choice(if_zero: str, if_one: str) -> str:
    return if_zero if if_zero == if_one else f"x ? {if_one} : {if_zero}"


def _any_of(table: list[list[int]], wanted: int) -> str:
    """The OR of the state bits whose row of the table holds `wanted` under the present x."""
    terms = []
    for code, (under_zero, under_one) in enumerate(table):
        if under_zero == under_one == wanted:
            terms.append(f"state[{code}]")
        elif wanted in (under_zero, under_one):
            terms.append(f"(state[{code}] & {'x' if under_one == wanted else '~x'})")
    return " | ".join(terms) or "1'b0"


def _num_distinct() -> int:
    num_binary = 4**8 * 2 * 2**2  # level 2: next states, which end of the outputs is 1, the middle outputs
    num_one_hot = 8**16  # level 5 with eight states, next states alone
    return num_binary + num_one_hot


FAMILY = Family(
    name="fsm_next_state",
    summary="next-state and output logic, binary and one-hot",
    draw=draw,
    num_distinct=_num_distinct(),
    levels=(2, 3, 4, 5),
)
