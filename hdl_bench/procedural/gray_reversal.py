"""Gray codes and bit orders: conversions, reversals inside groups, swaps of groups, and Gray-coded counters."""

import random

from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, literal, module, outputs
from verifiers.types import Clock, Protocol, Reset


def draw(rng: random.Random, level: int) -> Design:
    if level <= 2:
        return _draw_order(rng, level)
    return {3: _draw_conversion, 4: _draw_counter, 5: _draw_arithmetic}[level](rng)


def _draw_order(rng: random.Random, level: int) -> Design:
    """Bit order: the bits of each group reversed, or the groups, or both; then a rotation and an inversion of some."""
    group = rng.choice((1, 2, 3, 4, 5, 8) if level == 1 else (2, 3, 4, 8))
    kind = rng.choice(("bits", "groups")) if group > 1 else "groups"
    longest = (8 if kind == "bits" or group == 1 else 4 * group) if level == 1 else 16  # bounds the golden's length
    num_groups = rng.randint(2, max(2, longest // group))
    width = group * num_groups
    turn = 0 if level == 1 else rng.randrange(1, width)
    mask = rng.choice((0, (1 << width) - 1, rng.randrange(1 << min(width, 8))))
    order = []  # source of each bit of y, least significant first
    for place in range(width):
        block, inner = divmod(place, group)
        order.append(block * group + group - 1 - inner if kind == "bits" else (num_groups - 1 - block) * group + inner)
    order = order[width - turn :] + order[: width - turn] if turn else order
    pieces = _pieces(order)
    texts = [f"a[{high}:{low}]" if high > low else f"a[{high}]" for high, low in pieces]
    concatenation = "{" + ", ".join(texts) + "}"
    flip = f" ^ {literal(width, mask, 'h')}" if mask else ""
    golden = f"assign y = {concatenation}{flip};"
    ports = inputs(a=width) + outputs(y=width)
    what = {
        "bits": f"reverse the bit order inside each group of {group} bits (the groups stay in place)",
        "groups": "reverse the order of all bits"
        if group == 1
        else (
            f"reverse the order of the {num_groups} groups of {group} bits (the bits inside a group keep their order)"
        ),
    }[kind]
    steps = [what] + ([f"rotate the result left by {turn} bit{'s' * (turn > 1)}"] if turn else [])
    steps += [f"XOR it with the hexadecimal constant {mask:x}"] if mask else []
    then = ", then ".join(steps)
    grouping = "" if group == 1 else f" Groups of {group} are counted from bit 0."
    example = f" For orientation: y[0] is {'the complement of ' if mask & 1 else ''}a[{order[0]}]."
    return Design(
        params={"style": "order", "order": ",".join(map(str, order)), "mask": mask},
        ports=ports,
        descriptions=(
            f"Take the {width}-bit input a, {then}, and output it on y.{grouping}",
            "y = a after these steps: "
            f"{'; '.join(f'({k + 1}) {step}' for k, step in enumerate(steps))}.{grouping}{example} No clock.",
            f"Wiring task for {width} bits, combinational: {then}. What results is y.{grouping} So the most "
            f"significant bit of y is {'the complement of ' if mask >> (width - 1) else ''}a[{order[-1]}].",
        ),
        golden=module(ports, golden),
        protocol=Protocol(),
    )


def _pieces(order: list[int]) -> list[tuple[int, int]]:
    """Runs (high, low) of consecutive source bits, most significant first."""
    pieces: list[tuple[int, int]] = []
    for source in reversed(order):
        if pieces and pieces[-1][1] == source + 1:
            pieces[-1] = (pieces[-1][0], source)
        else:
            pieces.append((source, source))
    return pieces


_RULES = (
    "(Gray code g of a binary number b: the top bit of g equals the top bit of b, and every other bit g[i] is b[i + 1] "
    "XOR b[i].)"
)


def _to_binary(source: str, width: int) -> list[str]:
    """Statements inside an always block that turn Gray code into `binary`."""
    return [
        f"  binary[{width - 1}] = {source}[{width - 1}];",
        f"  for (i = {width - 2}; i >= 0; i = i - 1)",
        f"    binary[i] = binary[i + 1] ^ {source}[i];",
    ]


def _draw_conversion(rng: random.Random) -> Design:
    """Binary to Gray or back, with a constant added to the binary number on the way."""
    width, is_encode, is_plain = rng.randint(3, 16), rng.random() < 0.5, rng.random() < 0.2
    constant = 0 if is_plain else rng.randrange(1 << width)
    ports = inputs(a=width) + outputs(y=width)
    value = literal(width, constant)
    if is_encode:
        source = f"a + {value}" if constant else "a"
        body = [f"wire [{width - 1}:0] b = {source};", "assign y = b ^ (b >> 1);"]
        task = f"b = a + {constant} (modulo 2^{width})" if constant else "b = a"
        words = f"Convert a number to Gray code: {task}, and y is the Gray code of b."
    else:
        body = [f"reg [{width - 1}:0] binary;", "integer i;", "always @(*) begin", *_to_binary("a", width), "end"]
        body.append(f"assign y = binary{f' + {value}' if constant else ''};")
        plus = f" plus {constant} (modulo 2^{width})" if constant else ""
        words = f"The input a is a Gray code. The output y is the binary number that it stands for{plus}."
    goal = (
        "y = gray(b)" if is_encode else f"y = (binary(a) + {constant}) mod 2^{width}" if constant else "y = binary(a)"
    )
    return Design(
        params={"style": "conversion", "width": width, "is_encode": int(is_encode), "constant": constant},
        ports=ports,
        descriptions=(
            f"{words} {_RULES} Combinational.",
            f"{goal}{f', {task}' if is_encode else ''}. {_RULES} No clock.",
            f"Two ways to write {width}-bit numbers meet here, plain binary and reflected binary (Gray) code. {_RULES} "
            f"{words} Nothing is stored.",
        ),
        golden=module(ports, "\n".join(body)),
        protocol=Protocol(),
    )


def _draw_counter(rng: random.Random) -> Design:
    """A register that steps through the Gray sequence by a drawn step, from a drawn position."""
    width, step = rng.randint(3, 6), rng.choice((1, 2, 3, -1, -2, -3))
    start, is_synchronous, is_high = rng.randrange(1 << width), rng.random() < 0.5, rng.random() < 0.5
    has_enable = rng.random() < 0.6
    reset = "rst" if is_high else "rst_n"
    ports = inputs(clk=1, **{reset: 1}, **({"en": 1} if has_enable else {})) + outputs(y=width)
    edge = "" if is_synchronous else f" or {'posedge' if is_high else 'negedge'} {reset}"
    move = f"b <= b {'+' if step > 0 else '-'} {literal(width, abs(step))};"
    body = [
        f"reg [{width - 1}:0] b;",
        f"always @(posedge clk{edge}) begin",
        f"  if ({'' if is_high else '!'}{reset})",
        f"    b <= {literal(width, start)};",
        f"  else{' if (en)' if has_enable else ''}",
        f"    {move}",
        "end",
        "assign y = b ^ (b >> 1);",
    ]
    kind = "synchronous" if is_synchronous else "asynchronous"
    level = f"active-{'high' if is_high else 'low'}"
    moving = f"{'increases' if step > 0 else 'decreases'} by {abs(step)}"
    when = "if en is 1 (with en at 0 it keeps its value)" if has_enable else "every time"
    return Design(
        params={
            "style": "counter",
            "width": width,
            "step": step,
            "start": start,
            "is_synchronous": int(is_synchronous),
            "is_high": int(is_high),
            "has_enable": int(has_enable),
        },
        ports=ports,
        descriptions=(
            f"Implement a {width}-bit counter with a Gray-coded output. An internal binary count {moving} modulo "
            f"2^{width} on each rising edge of clk {when}. The {kind}, {level} reset {reset} sets the count to "
            f"{start}. At all times y is the Gray code of the count. {_RULES}",
            f"y = gray(b). posedge clk: b = (b {'+' if step > 0 else '-'} {abs(step)}) mod 2^{width} {when}. {reset}: "
            f"{kind}, {level}, b = {start} (has priority). {_RULES}",
            f"A position counter shows itself in reflected binary code on y. {_RULES} The count behind it starts "
            f"at {start}, where the {kind} {level} reset input {reset} puts it, and {moving} at rising clk edges "
            f"{when}, wrapping around within {width} bits. y follows the count without a further register.",
        ),
        golden=module(ports, "\n".join(body)),
        protocol=Protocol(
            clocks=(Clock(name="clk"),),
            resets=(Reset(name=reset, is_active_high=is_high, is_synchronous=is_synchronous),),
            rare_high=(reset,) if is_high else (),
            rare_low=() if is_high else (reset,),
        ),
    )


_RESULTS = {  # name -> (Verilog on the decoded p and q, words)
    "a_plus_b": ("p + q", "p + q"),
    "a_minus_b": ("p - q", "p - q"),
    "b_minus_a": ("q - p", "q - p"),
    "larger": ("(p > q ? p : q)", "the larger of p and q"),
    "smaller": ("(p < q ? p : q)", "the smaller of p and q"),
    "distance": ("(p > q ? p - q : q - p)", "the absolute difference of p and q"),
}


def _draw_arithmetic(rng: random.Random) -> Design:
    """Operations on two Gray-coded numbers with a Gray-coded result."""
    width, kind = rng.randint(4, 12), rng.choice(list(_RESULTS))
    constant, is_inverted = rng.randrange(1 << min(width, 8)), rng.random() < 0.4
    ports = inputs(a=width, b=width) + outputs(y=width, equal_parity=1)
    expression, words = _RESULTS[kind]
    plus = f" + {literal(width, constant)}" if constant else ""
    top = width - 1
    body = [
        f"reg [{top}:0] p, q;",
        "integer i;",
        "always @(*) begin",
        f"  p[{top}] = a[{top}];",
        f"  q[{top}] = b[{top}];",
        f"  for (i = {top - 1}; i >= 0; i = i - 1) begin",
        "    p[i] = p[i + 1] ^ a[i];",
        "    q[i] = q[i + 1] ^ b[i];",
        "  end",
        "end",
        f"wire [{top}:0] r = {expression}{plus};",
        f"assign y = {'~' * is_inverted}(r ^ (r >> 1));",
        "assign equal_parity = p[0] == q[0];",
    ]
    added = f", plus {constant}" if constant else ""
    final = "the bitwise complement of the Gray code of r" if is_inverted else "the Gray code of r"
    return Design(
        params={
            "style": "arithmetic",
            "width": width,
            "kind": kind,
            "constant": constant,
            "is_inverted": int(is_inverted),
        },
        ports=ports,
        descriptions=(
            f"The inputs a and b are Gray codes of the unsigned {width}-bit numbers p and q. Let r be "
            f"{words}{added}, modulo 2^{width}. The output y is {final}. equal_parity is 1 if p and q are both "
            f"even or both odd, else 0. {_RULES} Combinational.",
            f"p = binary(a), q = binary(b), r = ({words}{added}) mod 2^{width}; y is {final}; equal_parity = (p[0] "
            f"== q[0]). {_RULES} Unsigned, no clock.",
            f"Two encoders deliver their {width}-bit positions in Gray code on a and b. {_RULES} Decode them to "
            f"unsigned numbers p and q, form r as {words}{added} (wrapping at {width} bits) and show {final} on y. "
            "equal_parity tells by a 1 that the lowest bits of p and q are equal. Nothing is stored.",
        ),
        golden=module(ports, "\n".join(body)),
        protocol=Protocol(),
    )


FAMILY = Family(
    name="gray_reversal",
    summary="bit order, Gray code conversions, counters and arithmetic",
    draw=draw,
    num_distinct=10_000 + sum(2 * 2**width for width in range(3, 17)),  # levels 4 and 5, and level 3
)
