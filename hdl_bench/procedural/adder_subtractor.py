"""Addition and subtraction: constants, carry and borrow, overflow flags, saturation, and modes chosen by an input."""

import random

from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, listing, literal, module, outputs
from verifiers.types import Protocol

_WIDTHS = range(3, 33)


def draw(rng: random.Random, level: int) -> Design:
    drawers = {1: _draw_plain, 2: _draw_two_modes, 3: _draw_flags, 4: _draw_saturating, 5: _draw_four_modes}
    return drawers[level](rng)


def _draw_plain(rng: random.Random) -> Design:
    """One sum or difference, wrapping at the width or one bit longer."""
    width, is_long = rng.choice(_WIDTHS), rng.random() < 0.5
    constant = rng.randrange(1, 1 << min(width, 10))
    kind = rng.choice(("a_plus_b", "a_minus_b", "b_minus_a", "a_plus_constant", "constant_minus_a", "a_b_constant"))
    size = width + is_long
    value = literal(size, constant)
    verilog, words = {
        "a_plus_b": ("a + b", "the sum of a and b"),
        "a_minus_b": ("a - b", "a minus b"),
        "b_minus_a": ("b - a", "b minus a"),
        "a_plus_constant": (f"a + {value}", f"the sum of a and the constant {constant}"),
        "constant_minus_a": (f"{value} - a", f"the constant {constant} minus a"),
        "a_b_constant": (f"a + b + {value}", f"the sum of a, b and the constant {constant}"),
    }[kind]
    has_b, has_constant = "_b" in kind or kind[0] == "b", "constant" in kind
    ports = inputs(**dict.fromkeys("ab" if has_b else "a", width)) + outputs(y=size)
    subject = (
        "Inputs are unsigned." if not is_long else f"Inputs are unsigned and are first zero-extended to {size} bits."
    )
    return Design(
        params={"kind": kind, "width": width, "size": size, "constant": constant if has_constant else 0},
        ports=ports,
        descriptions=(
            f"The output y should be {words}, modulo 2^{size}. {subject}",
            f"Compute y = {words.replace('the sum of ', 'sum of ')} as a {size}-bit number. {subject} Higher "
            "result bits are dropped.",
            f"This is an arithmetic block without a clock. Its {size}-bit output y is {words}; a result that does "
            f"not fit in {size} bits wraps around. {subject}",
        ),
        golden=module(ports, f"assign y = {verilog};"),
        protocol=Protocol(),
    )


def _draw_two_modes(rng: random.Random) -> Design:
    """An adder-subtractor with a mode input, and carry and borrow joined in one output of either polarity."""
    width, add_when, is_carry_kept = rng.choice(_WIDTHS), rng.randrange(2), rng.random() < 0.5
    is_reverse, has_carry_in = rng.random() < 0.5, rng.random() < 0.5
    left, right = ("b", "a") if is_reverse else ("a", "b")
    ports = inputs(mode=1, **({"cin": 1} if has_carry_in else {}), a=width, b=width) + outputs(y=width, c=1)
    carry = " + cin" if has_carry_in else ""
    borrow = " - cin" if has_carry_in else ""
    choose = "mode" if add_when else "!mode"
    first = f"{{1'b0, {left}}} + {{1'b0, {right}}}{carry}"
    second = f"{{1'b0, {left}}} - {{1'b0, {right}}}{borrow}"
    body = [f"wire [{width}:0] result = {choose} ? {first} : {second};", f"assign y = result[{width - 1}:0];"]
    body.append(
        f"assign c = result[{width}];"
        if is_carry_kept
        else f"assign c = {choose} ? result[{width}] : ~result[{width}];"
    )
    total = f"{left} + {right}" + (" + cin" if has_carry_in else "")
    difference = f"{left} - {right}" + (" - cin" if has_carry_in else "")
    when_borrow = "c is 1 if that difference is negative (a borrow), else 0"
    if not is_carry_kept:
        when_borrow = "c is 0 if that difference is negative (a borrow), else 1"
    note = " and cin is one bit" if has_carry_in else ""
    return Design(
        params={
            "width": width,
            "add_when": add_when,
            "borrow_polarity": int(is_carry_kept),
            "left": left,
            "has_carry_in": int(has_carry_in),
        },
        ports=ports,
        descriptions=(
            f"Implement a combinational adder-subtractor; a and b are unsigned{note}. When mode is {add_when}, y "
            f"is the low {width} bits of {total} and c is the carry out. When mode is {1 - add_when}, y is the low "
            f"{width} bits of {difference}, and {when_borrow}.",
            f"mode={add_when}: {{c, y}} = {total} ({width + 1} bits). mode={1 - add_when}: y = ({difference}) mod "
            f"2^{width}; {when_borrow}. All operands unsigned; no clock.",
            f"One arithmetic unit has two jobs. With mode at {1 - add_when} it subtracts: y receives {difference} "
            f"wrapped to {width} bits, and {when_borrow}. With mode at {add_when} it adds: y receives {total} "
            f"wrapped to {width} bits, and c is 1 if the true sum needs more than {width} bits, else 0. Treat a "
            "and b as unsigned.",
        ),
        golden=module(ports, "\n".join(body)),
        protocol=Protocol(),
    )


_FLAGS = {  # name -> (Verilog, words); s is the wrapped result, e the exact one, {m} and {t} their top bits
    "zero": ("s == 0", "1 if y is zero"),
    "negative": ("s[{m}]", "the most significant bit of y"),
    "overflow": (
        "e[{t}:{m}] != {{{r}{{e[{m}]}}}}",
        "1 if the exact signed result does not fit in {w} bits of two's complement",
    ),
    "odd": ("s[0]", "the least significant bit of y"),
    "all_ones": ("&s", "1 if every bit of y is 1"),
    "sign": ("e[{t}]", "1 if the exact signed result (before wrapping) is negative"),
}


def _draw_flags(rng: random.Random) -> Design:
    """A signed sum or difference with a constant and two or three flags in a drawn order."""
    width, kind = rng.choice(range(4, 33)), rng.choice(("a + b", "a - b", "b - a"))
    constant = rng.choice((0, rng.randrange(1, 1 << (width - 2))))
    flags = rng.sample(list(_FLAGS), rng.choice((2, 3)))
    names = ("f", "g", "h")[: len(flags)]
    ports = inputs(a=width, b=width) + outputs(y=width, **dict.fromkeys(names, 1))
    size = width + 2 if constant else width + 1
    exact = kind + (f" + {_signed(size, constant)}" if constant else "")
    body = [
        f"wire signed [{width - 1}:0] sa = a, sb = b;",
        f"wire signed [{size - 1}:0] e = {exact.replace('a', 'sa').replace('b', 'sb')};",
        f"wire [{width - 1}:0] s = e[{width - 1}:0];",
        "assign y = s;",
    ]
    words = []
    for name, flag in zip(names, flags, strict=True):
        verilog, text = _FLAGS[flag]
        body.append(f"assign {name} = {verilog.format(m=width - 1, t=size - 1, r=size - width + 1)};")
        words.append(f"{name} is {text.format(w=width)}" + ("" if text.startswith("the") else ", else 0"))
    total = kind + (f" + {constant}" if constant else "")
    return Design(
        params={"width": width, "kind": kind, "constant": constant, "flags": ",".join(flags)},
        ports=ports,
        descriptions=(
            f"Let a and b be {width}-bit two's complement numbers. The output y is {total}, wrapped to {width} bits. "
            f"{'; '.join(words)}. There is no clock.",
            f"Combinational signed arithmetic: y = low {width} bits of ({total}). Status outputs: {'; '.join(words)}.",
            f"A datapath forms the exact value of {total} from the signed inputs a and b and outputs its low "
            f"{width} bits on y. It also reports {listing(list(names))}: {'; '.join(words)}. Nothing is stored.",
        ),
        golden=module(ports, "\n".join(body)),
        protocol=Protocol(),
    )


def _draw_saturating(rng: random.Random) -> Design:
    """A sum or difference that is held within drawn bounds, signed or unsigned."""
    width, is_signed, kind = rng.choice(range(4, 25)), rng.random() < 0.5, rng.choice(("a + b", "a - b", "b - a"))
    lowest, highest = (-(1 << (width - 1)), (1 << (width - 1)) - 1) if is_signed else (0, (1 << width) - 1)
    if rng.random() < 0.7:
        quarter = (highest - lowest) // 4
        lowest, highest = lowest + rng.randrange(quarter), highest - rng.randrange(quarter)
    ports = inputs(a=width, b=width) + outputs(y=width, clipped=1)
    size = width + 2
    pads = "{{2{{{n}[{m}]}}}}, {n}" if is_signed else "2'b00, {n}"
    left, operator, right = kind.split()
    operands = [f"{{{pads.format(n=name, m=width - 1)}}}" for name in (left, right)]
    low, high = (_signed(size, bound) for bound in (lowest, highest))
    body = [
        f"wire signed [{size - 1}:0] exact = {operands[0]} {operator} {operands[1]};",
        f"wire below = exact < {low};",
        f"wire above = exact > {high};",
        f"assign y = below ? {literal(width, lowest)} : above ? {literal(width, highest)} : exact[{width - 1}:0];",
        "assign clipped = below | above;",
    ]
    kind_words = f"{width}-bit two's complement" if is_signed else f"{width}-bit unsigned"
    return Design(
        params={"width": width, "is_signed": int(is_signed), "kind": kind, "lowest": lowest, "highest": highest},
        ports=ports,
        descriptions=(
            f"The inputs a and b are {kind_words} numbers. Compute {kind} exactly, then saturate: a result below "
            f"{lowest} gives {lowest}, a result above {highest} gives {highest}, anything else is kept. Output it "
            "on y (same number format). The output clipped is 1 when the result was changed, else 0. Combinational.",
            f"y = clamp({kind}, {lowest}, {highest}) with both inputs and y {kind_words} and no wrap-around inside; "
            f"clipped = 1 if {kind} lies outside {lowest}..{highest} (bounds included in the range), otherwise 0.",
            f"Without a clock, take the true value of {kind} for {kind_words} operands, which may need more bits "
            f"than a port has. The smallest value that y may show is {lowest} and the largest {highest}; values "
            "beyond are replaced by the nearer bound, and only then is clipped high.",
        ),
        golden=module(ports, "\n".join(body)),
        protocol=Protocol(),
    )


def _signed(width: int, value: int) -> str:
    """A signed constant, with a minus sign in front of a negative one."""
    return f"-{width}'sd{-value}" if value < 0 else f"{width}'sd{value}"


_MODES = {  # mode -> (Verilog of a {w}-bit result, words)
    "add": ("a + b", "a + b, wrapping"),
    "subtract": ("a - b", "a - b, wrapping"),
    "reverse": ("b - a", "b - a, wrapping"),
    "add_saturating": (
        "sum[{w}] ? {{{w}{{1'b1}}}} : sum[{m}:0]",
        "a + b, or all ones if the unsigned sum does not fit",
    ),
    "subtract_floor": ("a < b ? {w}'d0 : a - b", "a - b, or 0 if b is greater than a"),
    "distance": ("a < b ? b - a : a - b", "the absolute difference of a and b"),
    "average_down": ("sum[{w}:1]", "the mean of a and b rounded down, (a + b) / 2 without losing the carry"),
    "average_up": ("round[{w}:1]", "the mean of a and b rounded up, (a + b + 1) / 2 without losing the carry"),
    "negate": ("{w}'d0 - a", "the two's complement negation of a"),
    "carry_wrap": ("sum[{m}:0] + sum[{w}]", "a + b with end-around carry: the carry out is added to the low bits once"),
}


def _draw_four_modes(rng: random.Random) -> Design:
    """Four of ten unsigned operations, in a drawn order, chosen by a two-bit mode."""
    width, modes, is_inverted = rng.choice(range(4, 33)), rng.sample(list(_MODES), 4), rng.random() < 0.5
    ports = inputs(mode=2, a=width, b=width) + outputs(y=width, zero=1)
    arms = [
        f"    {'default' if code == 3 else literal(2, code)}: result = {_MODES[mode][0].format(w=width, m=width - 1)};"
        for code, mode in enumerate(modes)
    ]
    body = [
        f"wire [{width}:0] sum = a + b;",
        f"wire [{width}:0] round = sum + 1'b1;",
        f"reg [{width - 1}:0] result;",
        "always @(*) begin",
        "  case (mode)",
        *arms,
        "  endcase",
        "end",
        f"assign y = {'~' * is_inverted}result;",
        "assign zero = result == 0;",
    ]
    words = [_MODES[mode][1] for mode in modes]
    final = "the bitwise complement of the result" if is_inverted else "the result"
    return Design(
        params={"width": width, "modes": ",".join(modes), "is_inverted": int(is_inverted)},
        ports=ports,
        descriptions=(
            f"Implement a combinational unit on {width}-bit unsigned a and b. The result depends on mode: "
            f"{'; '.join(f'for mode {code} it is {text}' for code, text in enumerate(words))}. y is {final}. zero is 1 "
            "when the result is 0, else 0.",
            f"Operations on unsigned {width}-bit numbers (result kept in {width} bits):\n"
            + "\n".join(f"  mode {code:02b}: {text}" for code, text in enumerate(words))
            + f"\ny = {final}; zero = (result == 0). No clock.",
            f"A small arithmetic block computes one of four {width}-bit results from the unsigned numbers a and b. "
            + " ".join(f"When mode is {code}, that is {text}." for code, text in enumerate(words))
            + f" The output y carries {final}, and zero tells (by 1) that the result is 0. Nothing is stored.",
        ),
        golden=module(ports, "\n".join(body)),
        protocol=Protocol(),
    )


FAMILY = Family(
    name="adder_subtractor",
    summary="sums and differences with carry, flags, saturation and modes",
    draw=draw,
    num_distinct=len(_WIDTHS) * (6 + 3 * 14) + len(_WIDTHS) * 16 + 29 * 3 * 150 + 29 * 5040 * 2,  # from below
)
