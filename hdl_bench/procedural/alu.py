"""Arithmetic-logic units: a drawn table of operations, from two of them to sixteen sparse opcodes with flags."""

import random

from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, literal, module, outputs
from verifiers.types import Protocol

_SIMPLE = {  # name -> (Verilog on a and b, words)
    "add": ("a + b", "a + b"),
    "sub": ("a - b", "a - b"),
    "rsub": ("b - a", "b - a"),
    "and": ("a & b", "bitwise a AND b"),
    "or": ("a | b", "bitwise a OR b"),
    "xor": ("a ^ b", "bitwise a XOR b"),
    "nand": ("~(a & b)", "bitwise NOT (a AND b)"),
    "nor": ("~(a | b)", "bitwise NOT (a OR b)"),
    "xnor": ("~(a ^ b)", "bitwise NOT (a XOR b)"),
    "andn": ("a & ~b", "bitwise a AND (NOT b)"),
    "orn": ("a | ~b", "bitwise a OR (NOT b)"),
    "a": ("a", "a"),
    "b": ("b", "b"),
    "nota": ("~a", "bitwise NOT a"),
    "inc": ("a + 1'b1", "a + 1"),
    "dec": ("a - 1'b1", "a - 1"),
    "double": ("a << 1", "a shifted left by one bit (a zero enters)"),
    "half": ("a >> 1", "a shifted right by one bit (a zero enters)"),
}
_RICH = _SIMPLE | {
    "neg": ("-a", "the two's complement negation of a"),
    "asr": ("$signed(a) >>> 1", "a shifted right by one bit, the sign bit being kept"),
    "rol": ("{{a[{k}:0], a[{m}]}}", "a rotated left by one bit"),
    "ror": ("{{a[0], a[{m}:1]}}", "a rotated right by one bit"),
    "ltu": ("a < b", "1 if a is less than b as unsigned numbers, else 0"),
    "lts": ("$signed(a) < $signed(b)", "1 if a is less than b as two's complement numbers, else 0"),
    "eq": ("a == b", "1 if a equals b, else 0"),
    "maxu": ("a > b ? a : b", "the larger of a and b as unsigned numbers"),
    "mins": ("$signed(a) < $signed(b) ? a : b", "the smaller of a and b as two's complement numbers"),
    "mul": ("a * b", "the low {w} bits of a times b"),
}
_FLAGS = {  # name -> (Verilog, words)
    "zero": ("y == {z}", "1 if y is 0, else 0"),
    "negative": ("y[{m}]", "the most significant bit of y"),
    "parity": ("^y", "1 if y has an odd number of ones, else 0"),
    "equal": ("a == b", "1 if a equals b (whatever the opcode), else 0"),
    "carry": (
        "(op == {add} && sum[{w}]) || (op == {sub} && a < b)",
        "1 if the opcode is {add_code} and a + b needs more than {w} bits, or if the opcode is {sub_code} and a "
        "is less than b as unsigned numbers, else 0",
    ),
    "overflow": (
        "(op == {add} && a[{m}] == b[{m}] && sum[{m}] != a[{m}]) || (op == {sub} && a[{m}] != b[{m}] && y[{m}] != "
        "a[{m}])",
        "1 if the opcode is {add_code} or {sub_code} and the exact result, with a, b and y as two's complement "
        "numbers, does not fit in {w} bits, else 0",
    ),
}
_SIZES = {2: 4, 3: 8, 4: 6, 5: 11}  # level -> number of operations


def draw(rng: random.Random, level: int) -> Design:
    return _draw_pair(rng) if level == 1 else _draw_table(rng, level)


def _draw_pair(rng: random.Random) -> Design:
    width, (first, second) = rng.randint(2, 32), rng.sample(list(_SIMPLE), 2)
    ports = inputs(op=1, a=width, b=width) + outputs(y=width)
    texts = [_SIMPLE[name][0] for name in (second, first)]
    words = [_SIMPLE[name][1] for name in (first, second)]
    return Design(
        params={"width": width, "operations": f"0:{first},1:{second}"},
        ports=ports,
        descriptions=(
            f"Implement an ALU with two operations on {width}-bit words. When op is 0, y is {words[0]}. When op is "
            f"1, y is {words[1]}. Results are cut to {width} bits.",
            f"op = 0: y = {words[0]}; op = 1: y = {words[1]}. {width} bits, wrapping, combinational.",
            f"The input op chooses what y is: with a 1 it is {words[1]}, with a 0 it is {words[0]}. Arithmetic "
            f"wraps around at {width} bits, and there is no clock.",
        ),
        golden=module(ports, f"assign y = op ? {texts[0]} : {texts[1]};"),
        protocol=Protocol(),
    )


def _draw_table(rng: random.Random, level: int) -> Design:
    width, num_operations = rng.choice((4, 5, 6, 7, 8, 10, 12, 16, 24, 32)), _SIZES[level]
    pool = _SIMPLE if level <= 3 else _RICH
    size = {2: 2, 3: 3, 4: 3, 5: 4}[level]
    operations = rng.sample(sorted(pool), num_operations)
    flags = _draw_flags(rng, level, operations)
    codes = sorted(rng.sample(range(1 << size), num_operations))
    rng.shuffle(operations)
    table = dict(zip(codes, operations, strict=True))
    is_full = num_operations == 1 << size
    default = "zero" if is_full else rng.choice(("zero", "ones", "a", "b"))
    ports = inputs(op=size, a=width, b=width) + outputs(y=width, **dict.fromkeys(flags, 1))
    places = {"w": width, "m": width - 1, "k": width - 2, "z": literal(width, 0)}
    for name in ("add", "sub"):
        code = next((code for code, operation in table.items() if operation == name), 0)
        places |= {name: literal(size, code, "b"), f"{name}_code": f"{code:0{size}b}"}
    otherwise = {"zero": literal(width, 0), "ones": f"{{{width}{{1'b1}}}}", "a": "a", "b": "b"}[default]
    arms = [f"    {literal(size, code, 'b')}: y = {pool[name][0].format(**places)};" for code, name in table.items()]
    arms = (
        [*arms[:-1], "    default: y" + arms[-1].split(": y")[1]]
        if is_full
        else [*arms, f"    default: y = {otherwise};"]
    )
    body = [f"wire [{width}:0] sum = a + b;"] if {"carry", "overflow"} & set(flags) else []
    body += ["always @(*) begin", "  case (op)", *arms, "  endcase", "end"]
    body += [f"assign {flag} = {_FLAGS[flag][0].format(**places)};" for flag in flags]
    return Design(
        params={
            "width": width,
            "table": ",".join(f"{code}:{name}" for code, name in table.items()),
            "default": "" if is_full else default,
            "flags": ",".join(flags),
        },
        ports=ports,
        descriptions=_table_descriptions(
            width,
            [(f"{code:0{size}b}", pool[name][1].format(**places)) for code, name in table.items()],
            "" if is_full else {"zero": "0", "ones": "all ones", "a": "a", "b": "b"}[default],
            [f"{flag} is {_FLAGS[flag][1].format(**places)}" for flag in flags],
        ),
        golden=module(ports, "\n".join(body), registers=("y",)),
        protocol=Protocol(),
    )


def _draw_flags(rng: random.Random, level: int, operations: list[str]) -> list[str]:
    """The flag outputs in a drawn order; carry and overflow put `add` and `sub` in the table in place."""
    if level == 2:
        return []
    flags = rng.sample(("zero", "negative", "parity", "equal"), level - 2)
    if level >= 4:
        flags.insert(rng.randrange(len(flags) + 1), rng.choice(("carry", "overflow")))
        for name in ("add", "sub"):
            if name not in operations:
                spare = next(place for place, other in enumerate(operations) if other not in ("add", "sub"))
                operations[spare] = name
    return flags


def _table_descriptions(
    width: int, table: list[tuple[str, str]], default: str, flags: list[str]
) -> tuple[str, str, str]:
    """Three phrasings of opcodes (binary text, words), what other opcodes give ("" if none) and flag sentences."""
    other = f" Any other opcode gives y = {default}." if default else ""
    status = f" {'; '.join(flags)}." if flags else ""
    lines = "\n".join(f"  {code}  {words}" for code, words in table)
    notes = (other + status).strip()
    return (
        f"Implement a combinational ALU on {width}-bit words a and b. The opcode op selects the result y: "
        f"{'; '.join(f'for {code}, {words}' for code, words in table)}. Opcodes are binary and results wrap to "
        f"{width} bits.{other}{status}",
        f"ALU, no clock, {width} bits.\nop (binary)  y (cut to {width} bits)\n{lines}\n{notes}".strip(),
        f"A processor's execution unit takes two {width}-bit operands. Its output y is "
        + ", ".join(f"{words} (op = {code})" for code, words in table)
        + f". The opcodes are written in binary, most significant bit first; everything is kept modulo "
        f"2^{width}.{other}{status} It holds no state.",
    )


FAMILY = Family(
    name="alu",
    summary="arithmetic-logic units with drawn operation tables and flags",
    draw=draw,
    num_distinct=31 * 18 * 17 + 10 * 18 * 17 * 16 * 15,  # levels 1 and 2 alone
)
