"""Bitwise expressions of two or three vectors: and, or, xor, their complements, and compositions by level."""

import random

from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, module, outputs
from verifiers.types import Protocol

_OPERATIONS = {  # name -> (Verilog of two operands, words)
    "and": ("{a} & {b}", "the bitwise AND of {a} and {b}"),
    "or": ("{a} | {b}", "the bitwise OR of {a} and {b}"),
    "xor": ("{a} ^ {b}", "the bitwise XOR of {a} and {b}"),
    "nand": ("~({a} & {b})", "the bitwise NAND of {a} and {b}"),
    "nor": ("~({a} | {b})", "the bitwise NOR of {a} and {b}"),
    "xnor": ("~({a} ^ {b})", "the bitwise XNOR of {a} and {b}"),
    "andnot": ("{a} & ~{b}", "the bitwise AND of {a} and the complement of {b}"),
    "ornot": ("{a} | ~{b}", "the bitwise OR of {a} and the complement of {b}"),
}
_NUM_STEPS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6}
_NAMES = ("a", "b", "c", "d", "e", "f", "g")


def draw(rng: random.Random, level: int) -> Design:
    num_steps = _NUM_STEPS[level]
    width = rng.choice((1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 24, 32))
    steps = [rng.choice(sorted(_OPERATIONS)) for _ in range(num_steps)]
    names = _NAMES[: num_steps + 1]
    expression, words = names[0], names[0]
    for step, name in zip(steps, names[1:], strict=True):
        verilog, phrase = _OPERATIONS[step]
        operand = expression if expression in names else f"({expression})"
        spoken = words if words in names else f"({words})"
        expression, words = verilog.format(a=operand, b=name), phrase.format(a=spoken, b=name)
    ports = inputs(**dict.fromkeys(names, width)) + outputs(y=width)
    return Design(
        params={"steps": ",".join(steps), "width": width},
        ports=ports,
        descriptions=(
            f"The output y should be {words}.",
            f"Assign to y {words}.",
            f"The module is purely combinational: y is {words}.",
        ),
        golden=module(ports, f"assign y = {expression};"),
        protocol=Protocol(),
    )


FAMILY = Family(
    name="bitwise", summary="bitwise expressions of vectors", draw=draw, num_distinct=12 * (8 + 64 + 512 + 4096)
)
