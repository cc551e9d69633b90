"""Bitwise expressions of vectors: a chain of two-operand operations, one to six long, on equal widths.

A chain is canonical by construction: an inner step never inverts its result, since the step after it could absorb
the inversion; so the last step is any of the ten operations that depend on both operands, the others are of five.
"""

import random

from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, module, outputs
from verifiers.types import Protocol

_INNER = {  # name -> (Verilog of operands a and b, words)
    "and": ("{a} & {b}", "the bitwise AND of {a} and {b}"),
    "or": ("{a} | {b}", "the bitwise OR of {a} and {b}"),
    "xor": ("{a} ^ {b}", "the bitwise XOR of {a} and {b}"),
    "and_not": ("{a} & ~{b}", "the bitwise AND of {a} and the complement of {b}"),
    "or_not": ("{a} | ~{b}", "the bitwise OR of {a} and the complement of {b}"),
}
_LAST = _INNER | {
    "nand": ("~({a} & {b})", "the bitwise NAND of {a} and {b}"),
    "nor": ("~({a} | {b})", "the bitwise NOR of {a} and {b}"),
    "xnor": ("~({a} ^ {b})", "the bitwise XNOR of {a} and {b}"),
    "not_and": ("~{a} & {b}", "the bitwise AND of {b} and the complement of {a}"),
    "not_or": ("~{a} | {b}", "the bitwise OR of {b} and the complement of {a}"),
}
_NUM_STEPS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6}
_WIDTHS = range(2, 33)
_NAMES = ("a", "b", "c", "d", "e", "f", "g")


def draw(rng: random.Random, level: int) -> Design:
    width = rng.choice(_WIDTHS)
    steps = [rng.choice(list(_INNER)) for _ in range(_NUM_STEPS[level] - 1)] + [rng.choice(list(_LAST))]
    names = _NAMES[: len(steps) + 1]
    expression, words, stages = names[0], names[0], []
    for index, (step, name) in enumerate(zip(steps, names[1:], strict=True)):
        verilog, phrase = _LAST[step]
        spoken = words if index == 0 else f"({words})"
        previous = names[0] if index == 0 else f"t{index}"
        target = "y" if index == len(steps) - 1 else f"t{index + 1}"
        stages.append(f"{target} is {phrase.format(a=previous, b=name)}")
        expression = verilog.format(a=expression if index == 0 else f"({expression})", b=name)
        words = phrase.format(a=spoken, b=name)
    ports = inputs(**dict.fromkeys(names, width)) + outputs(y=width)
    return Design(
        params={"steps": ",".join(steps), "width": width},
        ports=ports,
        descriptions=(
            f"The module should drive the output y with {words}. It is purely combinational.",
            f"Combinational logic on {width}-bit vectors, bit by bit: {'; '.join(stages)}.",
            f"For every bit position, independently of the others, compute y as {words}. There is no clock.",
        ),
        golden=module(ports, f"assign y = {expression};"),
        protocol=Protocol(),
    )


FAMILY = Family(
    name="bitwise",
    summary="bitwise expressions of vectors",
    draw=draw,
    num_distinct=len(_WIDTHS) * sum(10 * 5 ** (num_steps - 1) for num_steps in _NUM_STEPS.values()),
)
