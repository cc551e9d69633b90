"""Priority encoders: width, direction, polarity, value when idle, rotating start, drawn order, second winner."""

import random

from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, literal, module, outputs
from verifiers.types import Protocol


def draw(rng: random.Random, level: int) -> Design:
    if level <= 2:
        return _draw_linear(rng, level)
    return {3: _draw_order, 4: _draw_rotating, 5: _draw_two_winners}[level](rng)


def _draw_linear(rng: random.Random, level: int) -> Design:
    width = rng.randint(3, 5) if level == 1 else rng.randint(6, 12)
    size, is_high_first, is_low = (width - 1).bit_length(), rng.random() < 0.5, rng.random() < 0.5
    idle, flag = rng.randrange(1 << size), rng.choice(("none", "valid", "none_set"))
    is_reversed = rng.random() < 0.4
    ports = inputs(a=width) + outputs(y=size, **{} if flag == "none" else {flag: 1})
    order = list(range(width - 1, -1, -1)) if is_high_first else list(range(width))
    codes = {bit: width - 1 - bit if is_reversed else bit for bit in order}
    tests = [f"{'!' * is_low}a[{bit}] ? {literal(size, codes[bit])}" for bit in order]
    golden = "assign y = " + "\n         : ".join([*tests, f"{literal(size, idle)};"])
    everything = literal(width, -1 if is_low else 0, "b")
    if flag != "none":
        golden += f"\nassign {flag} = a {'!=' if flag == 'valid' else '=='} {everything};"
    active, end = "0" if is_low else "1", "highest" if is_high_first else "lowest"
    result = f"{width - 1} minus its bit number" if is_reversed else "its bit number"
    flags = {
        "none": "",
        "valid": f" valid is 1 if any bit of a is {active}, else 0.",
        "none_set": f" none_set is 1 if no bit of a is {active}, else 0.",
    }[flag]
    return Design(
        params={
            "style": "linear",
            "width": width,
            "is_high_first": int(is_high_first),
            "is_low": int(is_low),
            "idle": idle,
            "flag": flag,
            "is_reversed": int(is_reversed),
        },
        ports=ports,
        descriptions=(
            f"Implement a priority encoder. Find the {end}-numbered bit of a that is {active} (bit 0 is the least "
            f"significant bit) and output {result} on y. If there is none, y is {idle}.{flags}",
            f"y = {result}, for the {end} bit equal to {active} in a; y = {idle} if no bit is {active}.{flags} "
            "Bits are numbered from 0, the least significant. Combinational.",
            f"Requests arrive on a, and a bit at {active} is a request. Among several, the one with the {end} "
            f"number wins. Its place is reported on y as {result}, counting bits from 0 at the least significant "
            f"end; when nobody asks, y shows {idle}.{flags} The block has no clock.",
        ),
        golden=module(ports, golden),
        protocol=Protocol(),
    )


def _draw_order(rng: random.Random) -> Design:
    """Priorities and output codes in a drawn order."""
    width, is_low = rng.randint(4, 6), rng.random() < 0.5
    order, codes = rng.sample(range(width), width), rng.sample(range(8), width)
    idle = rng.randrange(8)
    ports = inputs(a=width) + outputs(y=3, grant=width)
    pick = dict(zip(order, codes, strict=True))
    lines = ["always @(*) begin"]
    for place, bit in enumerate(order):
        lines.append(f"  {'else ' * (place > 0)}if ({'!' * is_low}a[{bit}]) begin")
        lines += [f"    y = {literal(3, pick[bit])};", f"    grant = {literal(width, 1 << bit, 'b')};", "  end"]
    lines += ["  else begin", f"    y = {literal(3, idle)};", f"    grant = {literal(width, 0, 'b')};", "  end", "end"]
    active, ranks = int(not is_low), ", ".join(f"a[{bit}]" for bit in order)
    table = ", ".join(f"{pick[bit]} for a[{bit}]" for bit in sorted(order))
    return Design(
        params={"style": "order", "order": str(order), "codes": str(codes), "is_low": int(is_low), "idle": idle},
        ports=ports,
        descriptions=(
            f"The bits of a are requests (active when {active}) with the following priority, highest first: "
            f"{ranks}. For the active request of highest priority, y is its code ({table}) and the bit of grant "
            f"with the same number is 1, all others being 0. If no request is active, y is {idle} and grant is all "
            "zeros. Combinational.",
            f"Priority: {' > '.join(f'a[{bit}]' for bit in order)}; active level {active}. Winner's code on y: "
            f"{table}; grant = one-hot winner, by bit number. No request: y = {idle}, grant = 0. No clock.",
            f"Look at the bits of a in this order: {ranks}. Stop at the first that is {active}. Output its code on "
            f"y, which is {table}, and mark it by a single 1 at its own position in grant. When you find none, put "
            f"{idle} on y and zeros on grant. Nothing is stored.",
        ),
        golden=module(ports, "\n".join(lines), registers=("y", "grant")),
        protocol=Protocol(),
    )


def _draw_rotating(rng: random.Random) -> Design:
    """The search starts at an input's position plus an offset and goes round, up or down."""
    width, is_up, offset = rng.choice((4, 5, 6, 7, 8)), rng.random() < 0.5, rng.randint(0, 3)
    size, is_masked = (width - 1).bit_length(), rng.random() < 0.5
    idle = rng.randrange(1 << size)
    ports = inputs(a=width, **({"mask": width} if is_masked else {}), start=size) + outputs(y=size, found=1)
    step = "+ i" if is_up else f"+ {width} - i"
    body = [
        f"wire [{width - 1}:0] requests = {'a & ~mask' if is_masked else 'a'};",
        "integer i;",
        "reg [7:0] place;",
        "always @(*) begin",
        f"  y = {literal(size, idle)};",
        "  found = 1'b0;",
        "  place = 8'd0;",
        f"  for (i = {width - 1}; i >= 0; i = i - 1) begin",
        f"    place = (start % {width} + {offset} {step}) % {width};",
        "    if (requests[place]) begin",
        "      y = place;",
        "      found = 1'b1;",
        "    end",
        "  end",
        "end",
    ]
    way = "upwards" if is_up else "downwards"
    wrap = f"from bit {width - 1} on to bit 0" if is_up else f"from bit 0 on to bit {width - 1}"
    first = f"(start + {offset}) modulo {width}" if offset else f"start modulo {width}"
    ask = "is 1 in a and 0 in mask" if is_masked else "is 1 in a"
    return Design(
        params={
            "style": "rotating",
            "width": width,
            "is_up": int(is_up),
            "offset": offset % width,
            "is_masked": int(is_masked),
            "idle": idle,
        },
        ports=ports,
        descriptions=(
            f"Search the bit positions of a for one that {ask}. Begin at position {first} (start is unsigned, the "
            f"sum exact) and go {way}, wrapping {wrap}, until all {width} positions were visited. y is the first "
            f"position found and found is 1. If there is none, y is {idle} and found is 0. Combinational.",
            f"Round-robin encoder without state: y = first index in the sequence s, s {'+' if is_up else '-'} 1, s "
            f"{'+' if is_up else '-'} 2, ... (mod {width}, {width} terms), s = {first}, whose bit {ask}; found = 1. "
            f"Otherwise y = {idle}, found = 0. Bit 0 is the least significant.",
            f"The {width} requesters sit in a ring. Position {first} has the highest priority (start is unsigned "
            f"and may exceed {width - 1}; the sum does not overflow), and priority falls going {way} around the "
            f"ring. A requester competes if its bit {ask}. Report the winner's bit number on y with found = 1, or "
            f"{idle} with found = 0 when nobody competes. There is no clock.",
        ),
        golden=module(ports, "\n".join(body), registers=("y", "found")),
        protocol=Protocol(),
    )


def _draw_two_winners(rng: random.Random) -> Design:
    """The first and the second winner, from drawn or opposite ends, and how many requests are left."""
    width, second_rule = rng.randint(5, 12), rng.choice(("next", "opposite"))
    is_low, is_high_first, size = rng.random() < 0.5, rng.random() < 0.5, width.bit_length()
    idle = rng.choice([0, *range(width, 1 << size)])
    reserved = rng.sample(range(width), rng.randint(0, 3))  # positions that may never be second
    has_left = not reserved or rng.random() < 0.5  # whether those positions are counted in left
    ports = inputs(a=width) + outputs(first=size, second=size, left=size)
    up, down = f"for (i = 0; i < {width}; i = i + 1)", f"for (i = {width - 1}; i >= 0; i = i - 1)"
    loop = up if is_high_first else down  # the last hit stays
    other = loop if second_rule == "next" else (down if is_high_first else up)
    bar = f"  rest = rest & {literal(width, ~sum(1 << bit for bit in reserved), 'b')};"
    count = [f"  {up}", "    left = left + rest[i];"]
    body = [
        f"wire [{width - 1}:0] r = {'~' * is_low}a;",
        f"reg [{width - 1}:0] rest;",
        "integer i;",
        "always @(*) begin",
        *(f"  {name} = {literal(size, value)};" for name, value in (("first", idle), ("second", idle), ("left", 0))),
        "  rest = r;",
        f"  {loop}",
        "    if (r[i]) first = i;",
        f"  if (r != {literal(width, 0)}) rest[first] = 1'b0;",
        *([*count, bar] if has_left else [bar, *count]),
        f"  {other}",
        "    if (rest[i]) second = i;",
        "end",
    ]
    active, end = int(not is_low), "highest" if is_high_first else "lowest"
    second_end = end if second_rule == "next" else ("lowest" if is_high_first else "highest")
    places = ", ".join(str(bit) for bit in sorted(reserved))
    barred = f" Positions {places} can never be second." if reserved else ""
    counted = "all requests except the first" + ("" if has_left else f" and those at positions {places}")
    return Design(
        params={
            "style": "two",
            "width": width,
            "second_rule": second_rule,
            "is_low": int(is_low),
            "idle": idle,
            "is_high_first": int(is_high_first),
            "reserved": str(sorted(reserved)),
            "counts_reserved": int(has_left),
        },
        ports=ports,
        descriptions=(
            f"A bit of a at {active} is a request; bits are numbered from 0, the least significant. first is the "
            f"number of the {end} request, second the number of the {second_end} one among the remaining "
            f"requests.{barred} Where there is no such request, the output is {idle}. left is the count of "
            f"{counted}. Combinational.",
            f"requests = bits of a equal to {active}. first = index of the {end}; second = index of the "
            f"{second_end} among the others.{barred} Missing: {idle}. left = number of {counted}. No clock, bit 0 "
            "least significant.",
            f"Two grants are given at a time. The first goes to the {end}-numbered bit of a that is {active}. From "
            f"what remains the {second_end}-numbered one gets the second.{barred} An output without a winner shows "
            f"{idle}. The output left counts {counted}. Bit 0 is the rightmost; nothing is stored.",
        ),
        golden=module(ports, "\n".join(body), registers=("first", "second", "left")),
        protocol=Protocol(),
    )


FAMILY = Family(
    name="encoder_priority",
    summary="priority encoders: direction, order, rotation, two winners",
    draw=draw,
    num_distinct=2 * 2 * 2 * 3 * (4 * 2 + 4 * 8 + 16 * 4) + 24 * 1680 * 16 + 5 * 2 * 3 * 2 * 4,
)
