"""Multiplexers: two-way with inverted or constant sources, N-way in odd orders, one-hot and priority selects."""

import random

from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, listing, literal, module, outputs
from verifiers.types import Protocol

_TWO_WAY = {  # source -> (Verilog, words); {w} is the width
    "a": ("a", "a"),
    "b": ("b", "b"),
    "not_a": ("~a", "the bitwise complement of a"),
    "not_b": ("~b", "the bitwise complement of b"),
    "zero": ("{{{w}{{1'b0}}}}", "all zeros"),
    "ones": ("{{{w}{{1'b1}}}}", "all ones"),
    "and": ("a & b", "the bitwise AND of a and b"),
    "or": ("a | b", "the bitwise OR of a and b"),
    "xor": ("a ^ b", "the bitwise XOR of a and b"),
}
_USES = {"a": "a", "b": "b", "not_a": "a", "not_b": "b", "zero": "", "ones": ""}  # the rest use both


def draw(rng: random.Random, level: int) -> Design:
    if level == 1:
        return _draw_two_way(rng)
    if level <= 3:
        return _draw_n_way(rng, rng.choice((3, 4)) if level == 2 else rng.randint(5, 9))
    return _draw_one_hot(rng) if level == 4 else _draw_packed(rng)


def _draw_two_way(rng: random.Random) -> Design:
    width = rng.choice(range(2, 33))
    while True:
        low, high = rng.sample(list(_TWO_WAY), 2)
        if {"a", "b"} == set(_USES.get(low, "ab") + _USES.get(high, "ab")):
            break
    verilog = [_TWO_WAY[kind][0].format(w=width) for kind in (low, high)]
    words = [_TWO_WAY[kind][1] for kind in (low, high)]
    ports = inputs(sel=1, a=width, b=width) + outputs(y=width)
    return Design(
        params={"style": "two_way", "width": width, "low": low, "high": high},
        ports=ports,
        descriptions=(
            f"Implement a {width}-bit multiplexer. When sel is 0, y is {words[0]}. When sel is 1, y is {words[1]}.",
            f"y equals {words[1]} if sel is high, otherwise {words[0]} (combinational).",
            f"The input sel decides what appears on the output y: low means {words[0]}, high means {words[1]}. No "
            "clock is involved.",
        ),
        golden=module(ports, f"assign y = sel ? {verilog[1]} : {verilog[0]};"),
        protocol=Protocol(),
    )


def _draw_n_way(rng: random.Random, num_inputs: int) -> Design:
    """Each select value picks one input in a drawn order; values without an input give the drawn default."""
    width, names = rng.choice((1, 2, 3, 4, 6, 8, 12, 16)), "abcdefghi"[:num_inputs]
    select_width = (num_inputs - 1).bit_length() + (num_inputs > 4 and rng.random() < 0.3)
    codes = sorted(rng.sample(range(1 << select_width), num_inputs))
    picked = dict(zip(codes, rng.sample(names, num_inputs), strict=True))
    is_full = len(codes) == 1 << select_width
    default = 0 if is_full else rng.randrange(1 << width)
    ports = inputs(sel=select_width, **dict.fromkeys(names, width)) + outputs(y=width)
    arms = [f"    {literal(select_width, code)}: y = {name};" for code, name in picked.items()]
    otherwise = f"    default: y = {literal(width, default)};"
    if is_full:  # the last arm is the default, so that no value of sel is left open
        arms, otherwise = arms[:-1], f"    default: y = {picked[codes[-1]]};"
    rest = "" if is_full else f" For every other value of sel, y is {default} (decimal)."
    short = "" if is_full else f"; anything else: {default}"
    return Design(
        params={"width": width, "select_width": select_width, "order": _spell(picked), "default": default},
        ports=ports,
        descriptions=(
            "Implement a combinational multiplexer controlled by the unsigned select input sel: "
            f"{'; '.join(f'when sel is {code}, y is {name}' for code, name in picked.items())}.{rest}",
            "y = selected input. sel -> input (decimal): "
            f"{', '.join(f'{c} -> {n}' for c, n in picked.items())}{short}.",
            f"There are {num_inputs} data inputs of {width} bit{'s' * (width > 1)} each, {listing(list(names))}. Input "
            + ", input ".join(f"{name} is routed to y by sel = {code}" for code, name in _by_name(picked))
            + f".{rest} The module has no memory.",
        ),
        golden=module(
            ports,
            "\n".join(["always @(*) begin", "  case (sel)", *arms, otherwise, "  endcase", "end"]),
            registers=("y",),
        ),
        protocol=Protocol(),
    )


def _spell(picked: dict[int, str]) -> str:
    return ",".join(f"{code}:{name}" for code, name in picked.items())


def _by_name(picked: dict[int, str]) -> list[tuple[int, str]]:
    return sorted(picked.items(), key=lambda pair: pair[1])


def _draw_one_hot(rng: random.Random) -> Design:
    """One select bit an input; several set bits mean OR, the first in a drawn priority order, or the default."""
    num_inputs, width = rng.randint(3, 5), rng.choice((2, 4, 8, 12, 16))
    names, conflict = "abcde"[:num_inputs], rng.choice(("or", "and", "priority", "default"))
    bits = dict(enumerate(rng.sample(names, num_inputs)))  # select bit -> input
    order = rng.sample(range(num_inputs), num_inputs) if conflict == "priority" else list(range(num_inputs))
    default = rng.randrange(1 << width)
    ports = inputs(sel=num_inputs, **dict.fromkeys(names, width)) + outputs(y=width)
    none = literal(width, default)
    if conflict in ("or", "and"):
        fill = "" if conflict == "or" else "~"
        terms = [f"({fill}{{{width}{{sel[{bit}]}}}} {'&' if conflict == 'or' else '|'} {bits[bit]})" for bit in order]
        combined = f" {'|' if conflict == 'or' else '&'} ".join(terms)
        body = f"assign y = (sel == {literal(num_inputs, 0)}) ? {none}\n         : {combined};"
    elif conflict == "priority":
        body = "assign y = " + "\n         : ".join([*(f"sel[{bit}] ? {bits[bit]}" for bit in order), f"{none};"])
    else:
        arms = [f"(sel == {literal(num_inputs, 1 << bit, 'b')}) ? {bits[bit]}" for bit in order]
        body = "assign y = " + "\n         : ".join([*arms, f"{none};"])
    rule = {
        "or": "If several bits of sel are 1, y is the bitwise OR of all the inputs selected.",
        "and": "If several bits of sel are 1, y is the bitwise AND of all the inputs selected.",
        "priority": "If several bits of sel are 1, the one that comes first in this order wins: "
        + ", ".join(f"sel[{bit}]" for bit in order)
        + ".",
        "default": f"If several bits of sel are 1, y is {default} as well.",
    }[conflict]
    return Design(
        params={"width": width, "bits": _spell(bits), "conflict": conflict, "order": str(order), "default": default},
        ports=ports,
        descriptions=(
            f"Implement a multiplexer with a one-hot select. {_sentences(bits)} If no bit of sel is 1, y is {default} "
            f"(decimal). {rule} It is combinational.",
            "Selector without a clock, one select line an input. Select lines: "
            f"{', '.join(f'sel[{b}] = {n}' for b, n in bits.items())}. No line active: {default}. {rule}",
            f"y should show one of {listing(list(names))}, and each bit of sel stands for one of them: "
            f"{'; '.join(f'{name} belongs to bit {bit}' for bit, name in _by_name(bits))}. With sel all zero the "
            f"output is decimal {default}. {rule}",
        ),
        golden=module(ports, body),
        protocol=Protocol(),
    )


def _sentences(bits: dict[int, str]) -> str:
    return " ".join(f"If only sel[{bit}] is 1, y is {name}." for bit, name in bits.items())


def _draw_packed(rng: random.Random) -> Design:
    """Words packed in one vector; an index with an offset picks one, out of range gives a constant, and two outputs."""
    num_words, width = rng.choice((5, 6, 7, 9, 10, 12)), rng.choice((3, 4, 5, 6, 8))
    select_width = num_words.bit_length()
    offset, is_reversed = rng.randrange(0, 4), rng.random() < 0.5
    default, neighbour = rng.randrange(1 << width), rng.choice((1, 2, 3))
    ports = inputs(sel=select_width, words=num_words * width) + outputs(y=width, z=width, valid=1)
    limit = literal(select_width, num_words)
    first, second = (f"({num_words - 1} - {name})" if is_reversed else name for name in ("first", "second"))
    none = literal(width, default)
    body = [
        f"wire [7:0] first = (sel + {offset}) % {num_words};",
        f"wire [7:0] second = (sel + {offset + neighbour}) % {num_words};",
        f"assign valid = sel < {limit};",
        f"assign y = valid ? words[{first} * {width} +: {width}] : {none};",
        f"assign z = valid ? words[{second} * {width} +: {width}] : {none};",
    ]
    ends = ("most", "top") if is_reversed else ("least", "bottom")
    return Design(
        params={
            "num_words": num_words,
            "width": width,
            "offset": offset,
            "neighbour": neighbour,
            "is_reversed": int(is_reversed),
            "default": default,
        },
        ports=ports,
        descriptions=(
            f"The input words holds {num_words} words of {width} bits; word 0 is in the {ends[0]} significant "
            f"bits, word 1 next to it, and so on. If the unsigned value sel is below {num_words}, valid is 1, y is "
            f"the word with number (sel + {offset}) modulo {num_words}, and z is the word with number (sel + "
            f"{offset + neighbour}) modulo {num_words}. Otherwise valid is 0 and both y and z are {default} "
            "(decimal). It is combinational.",
            f"Combinational dual word selector. The input words packs {width}-bit words, {num_words} of them, numbered "
            f"from the {ends[1]} of the vector. valid = (sel < {num_words}). When valid: y = word[(sel + {offset}) mod "
            f"{num_words}], z = word[(sel + {offset + neighbour}) mod {num_words}]; the sums are taken without "
            f"overflow. When not valid: y = z = {default}.",
            f"Think of words as a ring of {num_words} {width}-bit entries, where entry 0 sits at the {ends[0]} "
            f"significant end. Starting {offset} entries after the one that sel names, y shows that entry and z "
            f"the one {neighbour} further round the ring. This holds as long as sel names an existing entry (0 to "
            f"{num_words - 1}), which valid = 1 says; for larger sel, valid is 0 and y and z both hold decimal "
            f"{default}. No clock.",
        ),
        golden=module(ports, "\n".join(body)),
        protocol=Protocol(),
    )


FAMILY = Family(
    name="mux",
    summary="multiplexers: two-way, N-way, one-hot, packed words",
    draw=draw,
    num_distinct=31 * 50 + 2 * 24 * 8 + 100_000,  # levels 1 and 2, and from level 3 on
)
