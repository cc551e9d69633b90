"""Comparisons: two numbers or a constant, ranges, minimum and maximum, fields in order of weight; signed or not."""

import random

from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, listing, literal, module, outputs
from verifiers.types import Protocol

_RELATIONS = {
    "<": "less than",
    "<=": "less than or equal to",
    ">": "greater than",
    ">=": "greater than or equal to",
    "==": "equal to",
    "!=": "different from",
}
_NUMBERS = {False: "unsigned", True: "two's complement signed"}


def draw(rng: random.Random, level: int) -> Design:
    drawers = {1: _draw_plain, 2: _draw_range, 3: _draw_outputs, 4: _draw_extreme, 5: _draw_fields}
    return drawers[level](rng)


def _bounds(width: int, is_signed: bool) -> tuple[int, int]:
    return (-(1 << (width - 1)), (1 << (width - 1)) - 1) if is_signed else (0, (1 << width) - 1)


def _constant(width: int, value: int, is_signed: bool) -> str:
    if not is_signed:
        return literal(width, value)
    return f"-{width}'sd{-value}" if value < 0 else f"{width}'sd{value}"


def _operand(name: str, is_signed: bool) -> str:
    return f"$signed({name})" if is_signed else name


def _draw_plain(rng: random.Random) -> Design:
    """a against b, or a against a constant; `<=` and `>` of a constant are written but counted as `<` and `>=`."""
    width, relation, is_signed = rng.randint(2, 32), rng.choice(list(_RELATIONS)), rng.random() < 0.5
    if rng.random() < 0.5:
        is_signed &= relation not in ("==", "!=")
        ports, other, other_words, key = inputs(a=width, b=width), _operand("b", is_signed), "b", relation
    else:
        low, high = _bounds(min(width, 12), is_signed)
        step = relation in ("<=", ">")
        value = rng.choice([number for number in range(low + 1, high) if number + step != 0])  # 0 is a sign test
        ports, other, other_words = inputs(a=width), _constant(width, value, is_signed), f"the constant {value}"
        key = f"{relation.replace('<=', '<').replace('>=', '>')[0]}{value + step}"
        if relation in ("==", "!="):  # the bit pattern is compared, so a negative constant has an unsigned twin
            key, is_signed = f"{relation}{value % (1 << width)}", is_signed and value < 0
    has_b = len(ports) == 2
    ports += outputs(y=1)
    words = f"a is {_RELATIONS[relation]} {other_words}"
    subject = f"{'a and b are' if has_b else 'a is read as'} {_NUMBERS[is_signed]}, {width} bits wide"
    return Design(
        params={"width": width, "relation": key, "is_signed": int(is_signed and relation not in ("==", "!="))},
        ports=ports,
        descriptions=(
            f"The output y should be 1 if {words}, and 0 otherwise. Here {subject}.",
            f"y = ({words}). Interpretation: {subject}. Combinational.",
            f"Compare without a clock: {subject}; y goes high exactly when {words}.",
        ),
        golden=module(ports, f"assign y = {_operand('a', is_signed)} {relation} {other};"),
        protocol=Protocol(),
    )


def _draw_range(rng: random.Random) -> Design:
    """Inside or outside a range of constants."""
    width, is_signed, is_inside = rng.randint(4, 16), rng.random() < 0.5, rng.random() < 0.5
    low, high = _bounds(width, is_signed)
    first, last = sorted((rng.randint(low + 1, high - 1), rng.randint(low + 1, high - 1)))
    ports = inputs(a=width) + outputs(y=1)
    a, bounds = _operand("a", is_signed), [_constant(width, value, is_signed) for value in (first, last)]
    verilog = f"{a} >= {bounds[0]} && {a} <= {bounds[1]}" if is_inside else f"{a} < {bounds[0]} || {a} > {bounds[1]}"
    place = "lies in the range" if is_inside else "lies outside the range"
    number = f"{'a signed (two' + chr(39) + 's complement)' if is_signed else 'an unsigned'} {width}-bit number"
    ring = [first, last] if is_inside else [last + 1, first - 1]  # one arc of the ring of values, signed or not
    return Design(
        params={"width": width, "first": ring[0] % (1 << width), "last": ring[1] % (1 << width)},
        ports=ports,
        descriptions=(
            f"The input a is {number}. The output y should be 1 if a {place} {first} to {last}, where both bounds "
            "belong to the range, and 0 otherwise.",
            f"y = {'' if is_inside else 'not '}({first} <= a <= {last}); a is {number}. No clock.",
            f"A window detector watches a, {number}. Its window starts at {first} and ends at {last}, both "
            f"included. y is {int(is_inside)} while a is in the window and {int(not is_inside)} at any other time; "
            "there is no memory.",
        ),
        golden=module(ports, f"assign y = {verilog};"),
        protocol=Protocol(),
    )


def _draw_outputs(rng: random.Random) -> Design:
    """Three relations on three outputs, the operands having an offset and each output its own relation."""
    width, is_signed = rng.randint(3, 24), rng.random() < 0.5
    relations = rng.sample(list(_RELATIONS), 3)
    offset = rng.randint(0, min(15, (1 << (width - 1)) - 1))
    names = ("x", "y", "z")
    ports = inputs(a=width, b=width) + outputs(**dict.fromkeys(names, 1))
    declared = "wire signed" if is_signed else "wire"
    pad = "{{{n}[{m}], {n}}}" if is_signed else "{{1'b0, {n}}}"
    left, right = (pad.format(n=name, m=width - 1) for name in ("a", "b"))
    size = width + 2
    body = [f"{declared} [{width}:0] left = {left};", f"{declared} [{width}:0] right = {right};"]
    body.append(f"{declared} [{size - 1}:0] shifted = right + {_constant(size, offset, is_signed)};")
    body += [f"assign {name} = left {relation} shifted;" for name, relation in zip(names, relations, strict=True)]
    against = f"b + {offset}" if offset else "b"
    words = [f"{n} is 1 if a is {_RELATIONS[r]} {against}, else 0" for n, r in zip(names, relations, strict=True)]
    exact = " The sum is exact, it does not wrap around." if offset else ""
    return Design(
        params={"width": width, "is_signed": int(is_signed), "offset": offset, "relations": " ".join(relations)},
        ports=ports,
        descriptions=(
            f"Compare the {_NUMBERS[is_signed]} {width}-bit numbers a and b. {'; '.join(words)}.{exact} Combinational.",
            f"{', '.join(f'{n} = (a {r} {against})' for n, r in zip(names, relations, strict=True))}, with a and b "
            f"{_NUMBERS[is_signed]} numbers of {width} bits.{exact} No clock.",
            f"Three flags describe how a relates to {against} (all {_NUMBERS[is_signed]}):{exact} "
            f"{'; '.join(words)}. The flags follow the inputs at once.",
        ),
        golden=module(ports, "\n".join(body)),
        protocol=Protocol(),
    )


def _draw_extreme(rng: random.Random) -> Design:
    """Minimum or maximum of three or four numbers and which one it is, with a drawn rule for ties."""
    width, is_signed, is_max = rng.randint(3, 20), rng.random() < 0.5, rng.random() < 0.5
    names = "abc" if rng.random() < 0.5 else "abcd"
    order = rng.sample(names, len(names))  # the winner of a tie is the one that comes first here
    codes = rng.sample(range(4), len(names))
    ports = inputs(**dict.fromkeys(names, width)) + outputs(y=width, which=2)
    relation = ">" if is_max else "<"
    body = ["always @(*) begin", f"  y = {order[0]};", f"  which = {literal(2, codes[0])};"]
    for name, code in zip(order[1:], codes[1:], strict=True):
        body.append(f"  if ({_operand(name, is_signed)} {relation} {_operand('y', is_signed)}) begin")
        body += [f"    y = {name};", f"    which = {literal(2, code)};", "  end"]
    kind, coded = "largest" if is_max else "smallest", dict(sorted(zip(order, codes, strict=True)))
    spelled = ", ".join(f"{code} for {name}" for name, code in coded.items())
    return Design(
        params={
            "width": width,
            "is_signed": int(is_signed),
            "is_max": int(is_max),
            "order": "".join(order),
            "codes": spelled,
        },
        ports=ports,
        descriptions=(
            f"The output y is the {kind} of the {_NUMBERS[is_signed]} numbers {listing(list(names))}. The output which "
            f"says where it came from: {spelled}. If several inputs share that value, which names the one that comes "
            f"first in the order {', '.join(order)}. Combinational.",
            f"y = {'max' if is_max else 'min'}({', '.join(names)}), {_NUMBERS[is_signed]}, {width} bits. which = "
            f"code of the winner ({spelled}); ties go to the earliest in {' > '.join(order)}. No clock.",
            f"Inputs {listing(list(names))} compete as {_NUMBERS[is_signed]} numbers and the {kind} one wins; on equal "
            f"values {order[0]} beats {', then comes '.join(order[1:])}. Show the winner's value on y and its code on "
            f"which ({spelled}). The block keeps no state.",
        ),
        golden=module(ports, "\n".join([*body, "end"]), registers=("y", "which")),
        protocol=Protocol(),
    )


def _draw_fields(rng: random.Random) -> Design:
    """Records of three fields compared in a drawn order of weight; each field signed or not, up or down."""
    widths = [rng.randint(2, 6) for _ in range(3)]
    lows = [0, widths[0], widths[0] + widths[1]]
    order, signs = rng.sample(range(3), 3), [rng.random() < 0.5 for _ in range(3)]
    ups, tie = [rng.random() < 0.5 for _ in range(3)], rng.randrange(2)
    total = sum(widths)
    ports = inputs(a=total, b=total) + outputs(first=1, y=total)
    body = []
    for place in order:
        left, right = (f"{name}[{lows[place] + widths[place] - 1}:{lows[place]}]" for name in ("a", "b"))
        relation = "<" if ups[place] else ">"
        sides = [f"$signed({side})" if signs[place] else side for side in (left, right)]
        body.append(f"({left} != {right}) ? ({sides[0]} {relation} {sides[1]})")
    golden = "assign first = " + "\n             : ".join([*body, f"1'b{tie};"]) + "\nassign y = first ? a : b;"
    fields = [f"bits {lows[place] + widths[place] - 1} to {lows[place]}" for place in range(3)]
    rules = [
        f"{fields[place]} ({_NUMBERS[signs[place]]}; the record with the {'smaller' if ups[place] else 'larger'} value "
        "goes first)"
        for place in order
    ]
    winner = "a" if tie else "b"
    return Design(
        params={
            "widths": ",".join(map(str, widths)),
            "order": ",".join(map(str, order)),
            "tie": tie,
            "rules": ",".join(f"{'s' if s else 'u'}{'+' if u else '-'}" for s, u in zip(signs, ups, strict=True)),
        },
        ports=ports,
        descriptions=(
            f"Two records a and b must be put in order. Compare them by {rules[0]}; if those are equal, by "
            f"{rules[1]}; if those are equal too, by {rules[2]}. Output first is 1 if a goes first and 0 if b goes "
            f"first. Equal records: first is {tie}. y is the record that goes first. Combinational.",
            f"Sort key, from the most to the least important part: {'; '.join(rules)}. first = 1 when a precedes "
            f"b; when all parts are equal, first = {tie}. y = first ? a : b. No clock.",
            f"The inputs a and b each pack three fields. The decisive field is {rules[0]}. Only where it does not "
            f"decide look at {rules[1]}, and only then at {rules[2]}. The record that goes first appears on y; first "
            f"is 1 if it is a. When the two are identical, {winner} counts as the first one. Nothing is stored.",
        ),
        golden=module(ports, golden),
        protocol=Protocol(),
    )


FAMILY = Family(
    name="comparator",
    summary="comparisons, ranges, minimum and maximum, records by fields",
    draw=draw,
    num_distinct=31 * 10 + 100_000,  # level 1 without constants, and from level 2 on from below
)
