"""Pipelines: delay lines, staged arithmetic with a valid bit, register stages with valid and ready."""

import random
from itertools import pairwise

from hdl_bench.procedural.clocked import NUM_CLOCKINGS, draw_clocking, if_else
from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, literal, module, outputs

_WIDTHS = (*range(1, 17), 20, 24, 32)
_CONSTANT_WIDTHS = (4, 5, 6, 7, 8)


def draw(rng: random.Random, level: int) -> Design:
    return {1: _draw_delay, 2: _draw_enabled_delay, 3: _draw_stages, 4: _draw_slice, 5: _draw_stalled}[level](rng)


def _draw_delay(rng: random.Random) -> Design:
    """q is d some clock cycles later."""
    clocking, width, depth = draw_clocking(rng), rng.choice(_WIDTHS), rng.choice((2, 2, 3))
    value = rng.choice((0, (1 << width) - 1, rng.randrange(1 << width)))
    start, names = literal(width, value), [f"d{age}" for age in range(1, depth)]
    chain = ["d", *names, "q"]
    ports = clocking.ports + inputs(d=width) + outputs(q=width)
    vector = f"[{width - 1}:0] " if width > 1 else ""
    body = f"reg {vector}{', '.join(names)};\n" + clocking.always(
        "\n".join(f"{name} <= {start};" for name in chain[1:]),
        "\n".join(f"{new} <= {old};" for old, new in pairwise(chain)),
    )
    return Design(
        params={**clocking.params, "width": width, "depth": depth, "value": value, "enable": 0},
        ports=ports,
        descriptions=clocking.describe(
            f"q and every stage before it to {start}",
            (
                f"q is d delayed by {depth} registers in a row: at every other clock edge d moves into the first, each "
                "register into the next, and the last one is q.",
                f"Otherwise shift d through {depth} registers; the last is q.",
                f"d runs through a pipeline of {depth} stages, one stage further at each clock edge, and comes out "
                f"at q.",
            ),
        ),
        golden=module(ports, body, registers=("q",)),
        protocol=clocking.protocol(),
    )


def _draw_enabled_delay(rng: random.Random) -> Design:
    """A longer delay under an enable, with every stage complementing or not as a whole."""
    clocking, width, depth = draw_clocking(rng, has_both_edges=True), rng.choice(_WIDTHS), rng.choice((2, 3, 4, 5))
    active, value = rng.choice((1, 0)), rng.choice((0, (1 << width) - 1, rng.randrange(1 << width)))
    start = literal(width, value)
    ports = clocking.ports + inputs(en=1, d=width) + outputs(q=width)
    names = [f"d{age}" for age in range(1, depth)]
    chain = ["d", *names, "q"]
    moves = "\n".join(f"{new} <= {old};" for old, new in pairwise(chain))
    vector = f"[{width - 1}:0] " if width > 1 else ""
    body = f"reg {vector}{', '.join(names)};\n" + clocking.always(
        "\n".join(f"{name} <= {start};" for name in chain[1:]), if_else(("en" if active else "!en", moves))
    )
    return Design(
        params={**clocking.params, "width": width, "depth": depth, "value": value, "enable": 1 + active},
        ports=ports,
        descriptions=clocking.describe(
            f"q and every stage before it to {start}",
            (
                f"d passes through {depth} registers in a row, of which q is the last. All of them move at clock edges "
                f"with en = {active}, and all keep their values at edges with en = {1 - active}.",
                f"Otherwise en = {active}: shift d through {depth} registers (last: q); en = {1 - active}: all hold.",
                f"It is a delay line: q shows the d that was sampled {depth} enabled clock edges ago, counting the one "
                f"just past as the first. An edge is enabled if en is {'high' if active else 'low'}; other edges "
                "freeze the whole line.",
            ),
        ),
        golden=module(ports, body, registers=("q",)),
        protocol=clocking.protocol(),
    )


def _draw_stages(rng: random.Random) -> Design:
    """An operation with a constant in every stage, and a valid bit that travels along."""
    clocking, width = draw_clocking(rng, has_both_edges=True), rng.choice(_CONSTANT_WIDTHS)
    steps = _draw_steps(rng, width)
    depth, has_enable = len(steps), rng.random() < 0.5
    stages = [*(f"s{number}" for number in range(1, depth)), "y"]
    flags = [*(f"v{number}" for number in range(1, depth)), "out_valid"]
    moves = [
        f"{new} <= {_step(operation, constant, old, width)[0]};"
        for (operation, constant), old, new in zip(steps, ["d", *stages], stages, strict=False)
    ]
    moves += [f"{new} <= {old};" for old, new in zip(["in_valid", *flags], flags, strict=False)]
    resets = "\n".join(f"{name} <= 0;" for name in [*stages, *flags])
    declared = f"reg [{width - 1}:0] {', '.join(stages[:-1])};\nreg {', '.join(flags[:-1])};\n"
    move = "\n".join(moves)
    ports = clocking.ports + (inputs(en=1) if has_enable else ()) + inputs(in_valid=1, d=width)
    ports += outputs(out_valid=1, y=width)
    told = "; ".join(
        f"stage {number} {_step(operation, constant, 'd', width)[1]}"
        for number, (operation, constant) in enumerate(steps, start=1)
    )
    edge = "clock edge with en = 1" if has_enable else "clock edge"
    idle = " At edges with en = 0 everything keeps its value." if has_enable else ""
    return Design(
        params={**clocking.params, "width": width, "enable": int(has_enable)}
        | {"steps": ",".join(f"{operation}{constant}" for operation, constant in steps)},
        ports=ports,
        descriptions=clocking.describe(
            "y, out_valid and the registers of every stage to 0",
            (
                f"The module is a pipeline of {depth} stages with a register after each; d enters stage 1, and a value "
                f"moves on by one stage at every other {edge}, also when it is not valid. "
                f"{told[0].upper() + told[1:]}. Arithmetic is modulo {1 << width}. y is the register after the last "
                f"stage, and out_valid is in_valid delayed by the same {depth} registers.{idle}",
                f"Otherwise, per {edge}, a {depth}-stage register pipeline on d (mod {1 << width}): {told}. Result y; "
                f"in_valid runs along unchanged and comes out as out_valid.{idle}",
                f"d enters a pipeline and leaves it as y, {depth} {edge.replace('edge', 'edges')} later, counting the "
                f"one that takes it in. On the way, in {width}-bit arithmetic that wraps, {told}. A valid flag, from "
                f"in_valid to out_valid, keeps it company and changes nothing else.{idle}",
            ),
        ),
        golden=module(
            ports,
            declared + clocking.always(resets, if_else(("en", move)) if has_enable else move),
            registers=("out_valid", "y"),
        ),
        protocol=clocking.protocol(rare_low=("en",) if has_enable else ()),
    )


def _draw_steps(rng: random.Random, width: int) -> list[tuple[str, int]]:
    """Two to four operations; the kinds alternate between adding and bitwise ones, so that no two merge into one."""
    depth, first = rng.choice((2, 3, 4)), rng.randrange(2)
    steps = []
    for number in range(depth):
        # The half-range constant is left out: adding it and XORing it are one function.
        constant = rng.randrange(1, 1 << (width - 1))
        steps.append((rng.choice("+-") if (number + first) % 2 else "rotate", constant))
    return [(kind, 1 + constant % (width - 1) if kind == "rotate" else constant) for kind, constant in steps]


def _step(operation: str, constant: int, name: str, width: int) -> tuple[str, str]:
    """The Verilog of one stage on a register and what it does in words."""
    if operation == "rotate":
        verilog = f"{{{_bits(name, width - 1 - constant, 0)}, {_bits(name, width - 1, width - constant)}}}"
        return verilog, f"rotates it left by {constant}"
    return f"{name} {operation} {constant}", f"{'adds' if operation == '+' else 'subtracts'} {constant}"


def _bits(name: str, high: int, low: int) -> str:
    return f"{name}[{high}]" if high == low else f"{name}[{high}:{low}]"


def _draw_slice(rng: random.Random) -> Design:
    """One register stage with valid and ready, which changes the data by an operation with a constant."""
    return _stalled(rng, 1, "slice")


def _draw_stalled(rng: random.Random) -> Design:
    """Several stages in a row, each of which can move on when the next one is free or empties."""
    return _stalled(rng, rng.choice((2, 3)), "chain")


def _stalled(rng: random.Random, depth: int, kind: str) -> Design:
    clocking, width = draw_clocking(rng, has_both_edges=True), rng.choice(_CONSTANT_WIDTHS)
    operation = rng.choice("+-^")
    constant = rng.randrange(1, 1 << (width - 1))
    is_bubble_free = rng.random() < 0.5  # a full stage takes new data in the edge in which it gives its own away
    stages = [*(f"s{number}" for number in range(1, depth)), "out_data"]
    flags = [*(f"v{number}" for number in range(1, depth)), "out_valid"]
    takes = [f"ready{number}" for number in range(1, depth + 1)]
    lines, moves = [], []
    if depth > 1:
        lines += [f"reg [{width - 1}:0] {', '.join(stages[:-1])};", f"reg {', '.join(flags[:-1])};"]
    for number in reversed(range(depth)):
        leaves = takes[number + 1] if number + 1 < depth else "out_ready"
        lines.append(f"wire {takes[number]} = !{flags[number]}{f' || {leaves}' if is_bubble_free else ''};")
        source = f"in_data {operation} {constant}" if number == 0 else stages[number - 1]
        valid = flags[number - 1] if number else "in_valid"
        full = f"{flags[number]} <= {valid};\n" + if_else((valid, f"{stages[number]} <= {source};"))
        emptied = () if is_bubble_free else ((leaves, f"{flags[number]} <= 0;"),)
        moves.append(if_else((takes[number], full), *emptied))
    resets = "\n".join(f"{name} <= 0;" for name in [*stages, *flags])
    lines += [f"assign in_ready = {takes[0]};", clocking.always(resets, "\n".join(moves))]
    ports = clocking.ports + inputs(in_valid=1, in_data=width, out_ready=1)
    ports += outputs(in_ready=1, out_valid=1, out_data=width)
    return Design(
        params={**clocking.params, "kind": kind, "width": width, "depth": depth, "operation": operation}
        | {"constant": constant, "bubble_free": int(is_bubble_free)},
        ports=ports,
        descriptions=clocking.describe(
            "all stages to empty and their data, with out_data, to 0",
            _stalled_words(depth, width, f"{operation} {constant}", is_bubble_free),
        ),
        golden=module(ports, "\n".join(lines), registers=("out_valid", "out_data")),
        protocol=clocking.protocol(),
    )


def _stalled_words(depth: int, width: int, operation: str, is_bubble_free: bool) -> tuple[str, str, str]:
    many = depth > 1
    row = f"a row of {depth} register stages" if many else "one register stage"
    leave = "the next stage is ready (for the last stage: out_ready is 1)" if many else "out_ready is 1"
    accepts = f"is ready when it is empty or {leave}" if is_bubble_free else "is ready exactly when it is empty"
    source = "the stage before it (for the first stage: in_valid and in_data)" if many else "in_valid and in_data"
    kind = "bitwise XOR" if operation.startswith("^") else f"modulo {1 << width}"
    change = f"in_data is stored as in_data {operation} ({kind})" + (
        " by the first stage and then unchanged" if many else ""
    )
    last = "out_valid and out_data are the full flag and the data of the " + ("last stage" if many else "stage")
    first = "in_ready says whether the " + ("first stage" if many else "stage") + " is ready"
    return (
        f"The module is {row} with valid/ready handshakes; a stage has a full flag and data. Combinationally, a stage "
        f"{accepts}; {first}. At every other clock edge, a ready stage looks at {source}: if that is valid the stage "
        f"becomes full and takes the data, else it becomes empty and keeps its old data. A stage that is not ready "
        f"becomes empty if {leave}, else it stays full; it keeps its data either way. {last}; {change}.",
        f"Otherwise {row}, valid/ready. A stage {accepts} (combinational); {first}. Ready stage: full <= valid of "
        f"{source}; data <= its data only if valid. Stage not ready: full <= 0 if {leave}, else hold; data holds. "
        f"{last}; {change}.",
        f"Words travel through {row} and can be held up from the far end. A stage {accepts}; this needs no clock, and "
        f"{first}. At a clock edge every ready stage looks at {source}: a valid word moves in and makes the stage "
        f"full; no valid word leaves it empty, with its old data still there. A full stage that is not ready becomes "
        f"empty, its data staying, when {leave}, and otherwise waits. {last}. On entering, {change}.",
    )


def _num_distinct() -> int:
    num_delays = sum(1 << width for width in _WIDTHS) * (NUM_CLOCKINGS // 2) * 2
    num_stages = sum((1 << (width - 1)) - 1 for width in _CONSTANT_WIDTHS) * NUM_CLOCKINGS * 2 * 2 * 3
    num_stalled = sum((1 << (width - 1)) - 1 for width in _CONSTANT_WIDTHS) * NUM_CLOCKINGS * 3 * 2 * 3
    return num_delays + num_stages + num_stalled


FAMILY = Family(
    name="handshake_pipeline",
    summary="delay lines, arithmetic pipelines, stages with valid and ready",
    draw=draw,
    num_distinct=_num_distinct(),
)
