"""Shifts and rotations: by a constant, by an input, in modes, with sticky bits and of joined words."""

import random

from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, literal, module, outputs
from verifiers.types import Protocol

_MODES = {  # mode -> (Verilog with the amount {n}, words); {w} is the width
    "left": ("a << {n}", "a shifted left, zeros entering at the bottom"),
    "right": ("a >> {n}", "a shifted right, zeros entering at the top"),
    "arithmetic": ("$signed(a) >>> {n}", "a shifted right arithmetically, copies of its sign bit entering at the top"),
    "left_ones": ("~(~a << {n})", "a shifted left, ones entering at the bottom"),
    "right_ones": ("~(~a >> {n})", "a shifted right, ones entering at the top"),
    "rotate_left": ("twice >> ({w} - {n})", "a rotated left"),
    "rotate_right": ("twice >> {n}", "a rotated right"),
}


def draw(rng: random.Random, level: int) -> Design:
    if level == 1:
        return _draw_constant(rng)
    if level in (2, 3, 4):
        return _draw_variable(rng, {2: 1, 3: 2, 4: 4}[level])
    return _draw_funnel(rng)


def _draw_constant(rng: random.Random) -> Design:
    width, mode = rng.randint(3, 32), rng.choice([mode for mode in _MODES if mode != "rotate_right"])
    amount = rng.randrange(1, width)
    kept, fill = width - amount, {"left_ones": "1", "right_ones": "1"}.get(mode, "0")
    constant = literal(amount, (1 << amount) - 1 if fill == "1" else 0, "b")
    golden = {
        "left": f"{{a[{kept - 1}:0], {constant}}}" if kept > 1 else f"{{a[0], {constant}}}",
        "rotate_left": f"{{a[{kept - 1}:0], a[{width - 1}:{kept}]}}",
        "arithmetic": f"{{{{{amount}{{a[{width - 1}]}}}}, a[{width - 1}:{amount}]}}",
        "right": f"{{{constant}, a[{width - 1}:{amount}]}}",
    }
    golden |= {"left_ones": golden["left"], "right_ones": golden["right"]}
    if mode in ("left", "right"):
        golden[mode] = f"a {'<<' if mode == 'left' else '>>'} {amount}"
    words = _MODES[mode][1]
    places = f"by {amount} bit{'s' * (amount > 1)}"
    moved = words.replace("shifted left", f"shifted left {places}").replace("shifted right", f"shifted right {places}")
    moved = moved.replace("rotated left", f"rotated left {places}")
    ports = inputs(a=width) + outputs(y=width)
    target = f"bit i of a goes to bit i {'+' if 'left' in mode else '-'} {amount} of y"
    rest = {
        "left": "the lowest bits of y become 0",
        "left_ones": "the lowest bits of y become 1",
        "right": "the highest bits of y become 0",
        "right_ones": "the highest bits of y become 1",
        "arithmetic": "the highest bits of y become copies of a's most significant bit",
        "rotate_left": "the bits pushed out at the top come back at the bottom in the same order",
    }[mode]
    return Design(
        params={"style": "constant", "width": width, "mode": mode, "amount": amount},
        ports=ports,
        descriptions=(
            f"The output y should be {moved}.",
            f"y = {moved}. Width {width} bits, combinational.",
            f"Move the bits of the {width}-bit word a by a fixed distance: {target} where that position exists, "
            f"and {rest}. There is no clock.",
        ),
        golden=module(ports, f"assign y = {golden[mode]};"),
        protocol=Protocol(),
    )


def _draw_variable(rng: random.Random, num_modes: int) -> Design:
    """A barrel shifter of one, two or four modes; the amount may exceed the width, which the text settles."""
    width, is_inverted = rng.choice(range(4, 33)), rng.random() < 0.3
    size = (width - 1).bit_length() + rng.choice((0, 0, 1))
    modes = rng.sample(list(_MODES), num_modes)
    bias = rng.randint(0, 3) if num_modes > 1 else rng.randint(0, 7)
    selector = {1: 0, 2: 1, 4: 2}[num_modes]
    ports = inputs(**({"mode": selector} if selector else {}), a=width, n=size) + outputs(y=width)
    wide = (1 << size) - 1 + bias
    total = wide.bit_length()
    wrapped = f"amount % {width}" if wide >= width else "amount"
    body = [f"wire [{total - 1}:0] amount = n{f' + {bias}' if bias else ''};"]
    rotates = any(mode.startswith("rotate") for mode in modes)
    if rotates:
        body.append(f"wire [{2 * width - 1}:0] twice = {{a, a}};")
    for place, mode in enumerate(modes):
        distance = f"({wrapped})" if mode.startswith("rotate") else "amount"
        body.append(f"wire [{width - 1}:0] r{place} = {_MODES[mode][0].format(n=distance, w=width)};")
    chosen = {1: "r0", 2: "mode ? r1 : r0", 4: "mode[1] ? (mode[0] ? r3 : r2) : (mode[0] ? r1 : r0)"}[num_modes]
    body.append(f"assign y = ~({chosen});" if is_inverted else f"assign y = {chosen};")
    by = f"n + {bias}" if bias else "n"
    far = _far_words(modes, width, wide)
    listed = "; ".join(f"mode {code}: {_MODES[mode][1]}" for code, mode in enumerate(modes))
    task = f"y is {_MODES[modes[0]][1]}" if num_modes == 1 else f"y depends on mode ({listed})"
    last = " Finally every bit of the result is inverted before it is output." if is_inverted else ""
    exact = " (an exact sum)" if bias else ""
    return Design(
        params={
            "style": "variable",
            "width": width,
            "size": size,
            "modes": ",".join(modes),
            "bias": bias,
            "is_inverted": int(is_inverted),
        },
        ports=ports,
        descriptions=(
            f"Implement a combinational shifter for the {width}-bit word a: {task}. The "
            f"distance is {by} bit positions{exact}, where n is unsigned.{far}{last}",
            f"Barrel shifter, distance = {by}{exact}, n unsigned, no clock. {task}.{far}{last}",
            f"The unsigned input n tells how far to move the word a: by {by} places{exact}. With that distance, {task}."
            f"{far}{last} The output follows the inputs without delay.",
        ),
        golden=module(ports, "\n".join(body)),
        protocol=Protocol(),
    )


def _far_words(modes: list[str], width: int, wide: int) -> str:
    """What happens at distances of the width and beyond, if they can occur."""
    if wide < width:
        return ""
    words = []
    if any(mode.startswith("rotate") for mode in modes):
        words.append(f" A rotation by {width} or more counts modulo {width}.")
    if any(not mode.startswith("rotate") for mode in modes):
        words.append(f" A shift by {width} or more leaves only bits of the kind that enters.")
    return "".join(words)


def _draw_funnel(rng: random.Random) -> Design:
    """A window cut out of two joined words, with a sticky bit for what was cut off below and a limit on the "
    "distance."""
    width, limit_gap = rng.choice(range(6, 25)), rng.randint(0, 4)
    is_swapped, is_arithmetic = rng.random() < 0.5, rng.random() < 0.5
    sticky, size = rng.choice(("or", "xor", "last")), (width + 1).bit_length()
    limit = width - limit_gap
    high, low = ("b", "a") if is_swapped else ("a", "b")
    fill = f"{{{width}{{{high}[{width - 1}]}}}}" if is_arithmetic else literal(width, 0)
    ports = inputs(a=width, b=width, n=size) + outputs(y=width, x=width, s=1, limited=1)
    body = [
        f"assign limited = n > {literal(size, limit)};",
        f"wire [{size - 1}:0] distance = limited ? {literal(size, limit)} : n;",
        f"wire [{4 * width - 1}:0] joined = {{{fill}, {high}, {low}, {literal(width, 0)}}};",
        f"wire [{4 * width - 1}:0] moved = joined >> distance;",
        f"assign x = moved[{3 * width - 1}:{2 * width}];",
        f"assign y = moved[{2 * width - 1}:{width}];",
    ]
    gone = f"moved[{width - 1}:0]"
    body.append(f"assign s = {_sticky(sticky, gone, width)};")
    entering = f"copies of the most significant bit of {high}" if is_arithmetic else "zeros"
    sticky_words = {
        "or": "1 if any bit that was shifted out at the bottom is 1, else 0",
        "xor": "the XOR of all bits that were shifted out at the bottom (0 if none)",
        "last": "the bit that was shifted out last (0 if none)",
    }[sticky]
    return Design(
        params={
            "style": "funnel",
            "width": width,
            "limit": limit,
            "high": high,
            "is_arithmetic": int(is_arithmetic),
            "sticky": sticky,
        },
        ports=ports,
        descriptions=(
            f"Join {high} (upper half) and {low} (lower half) into one {2 * width}-bit word and shift it right by the "
            f"unsigned distance n, but by {limit} if n is greater than {limit}, in which case limited is 1 (else "
            f"0). At the top, {entering} enter. x is the upper half of the result and y the lower half. s is "
            f"{sticky_words}. Combinational.",
            f"{{x, y}} = {{{high}, {low}}} >> min(n, {limit}), with {entering} entering at the top. limited = (n > "
            f"{limit}). s is {sticky_words}. n is unsigned; no clock.",
            f"A double-word shifter takes its upper {width} bits from {high} and its lower {width} bits from "
            f"{low}. It moves them down by n places (n is unsigned, values above {limit} act as {limit} and set "
            f"limited to 1, which is otherwise 0), filling with {entering}. The halves appear on x (upper) and y "
            f"(lower); s is {sticky_words}. Nothing is stored.",
        ),
        golden=module(ports, "\n".join(body)),
        protocol=Protocol(),
    )


def _sticky(kind: str, gone: str, width: int) -> str:
    """The bits shifted out lie top-aligned in `gone`, the last one at its top."""
    return {"or": f"|{gone}", "xor": f"^{gone}", "last": f"moved[{width - 1}]"}[kind]


FAMILY = Family(
    name="shifter",
    summary="shifts and rotations by constants and inputs, modes, sticky bits",
    draw=draw,
    num_distinct=6 * sum(range(2, 32)) - 300 + 29 * 2 * 7 * 8 + 29 * 2 * 42 * 4 + 29 * 2 * 840 * 4,
)
