"""Fixed-point arithmetic: products, binary points, rounding, saturation and sums of products."""

import random
from dataclasses import dataclass

from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, module, outputs
from verifiers.types import Protocol

_NUMBERS = {False: "unsigned", True: "two's complement signed"}
_ROUNDINGS = {  # rounding -> words for dropping the fraction of a value
    "floor": "rounded towards minus infinity (the dropped bits are simply cut off)",
    "half_up": "rounded to the nearest integer, halves towards plus infinity",
    "half_even": "rounded to the nearest integer, halves to the even neighbour",
    "ceiling": "rounded towards plus infinity",
    "to_zero": "rounded towards zero",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shape:
    """A product path: operand widths, bits dropped from the exact value, output width, rounding and range rule."""

    width_a: int
    width_b: int
    is_signed: bool
    drop: int
    width_y: int
    rounding: str
    is_saturating: bool


def draw(rng: random.Random, level: int) -> Design:
    return _draw_product(rng) if level == 1 else _draw_scaled(rng, level)


def _draw_product(rng: random.Random) -> Design:
    """An exact product, of two inputs or with a constant."""
    width, is_signed, has_b = rng.randint(2, 12), rng.random() < 0.5, rng.random() < 0.4
    width_b = rng.randint(2, 12) if has_b else rng.randint(2, 7)
    low, high = (-(1 << (width_b - 1)), (1 << (width_b - 1)) - 1) if is_signed else (0, (1 << width_b) - 1)
    constant = 0 if has_b else rng.choice([value for value in range(low, high + 1) if value not in (0, 1)])
    size = width + width_b
    ports = inputs(a=width, **({"b": width_b} if has_b else {})) + outputs(y=size)
    left = "$signed(a)" if is_signed else "a"
    other = ("$signed(b)" if is_signed else "b") if has_b else _constant(size, constant, is_signed)
    words = "the product of a and b" if has_b else f"a times the constant {constant}"
    kind = _NUMBERS[is_signed]
    return Design(
        params={
            "style": "product",
            "width": width,
            "width_b": width_b,
            "is_signed": int(is_signed),
            "constant": constant,
        },
        ports=ports,
        descriptions=(
            f"The output y should be {words}. All numbers are {kind}, and y is wide enough for the exact result.",
            f"y = {words.removeprefix('the ')}, {kind}, exact in {size} bits. Combinational.",
            f"A multiplier without a clock treats its {'inputs' if has_b else 'input'} and its output as {kind} "
            f"numbers. It outputs {words} on the {size}-bit port y, without any loss.",
        ),
        golden=module(ports, f"assign y = {left} * {other};"),
        protocol=Protocol(),
    )


def _constant(width: int, value: int, is_signed: bool) -> str:
    if not is_signed:
        return f"{width}'d{value}"
    return f"-{width}'sd{-value}" if value < 0 else f"{width}'sd{value}"


def _draw_scaled(rng: random.Random, level: int) -> Design:
    """A product or sum of products with bits dropped: cut (2), rounded (3), saturated (4), with an addend (5)."""
    width_a, width_b, is_signed = rng.randint(4, 12), rng.randint(4, 12), rng.random() < 0.6
    drop = rng.randint(2, min(width_a, width_b))
    widest = width_a + width_b - drop
    is_saturating = level >= 4
    choices = ["floor"] if level == 2 else [name for name in _ROUNDINGS if name != "half_even" or level == 5]
    if not is_signed:  # two names of one rounding when nothing is negative
        choices = [name for name in choices if name != "to_zero"]
    shape = _Shape(
        width_a=width_a,
        width_b=width_b,
        is_signed=is_signed,
        drop=drop,
        is_saturating=is_saturating,
        width_y=rng.randint(max(3, widest - 5, min(width_a, width_b) + 1 - drop), widest - 1)
        if level != 3
        else widest + 1,
        rounding=rng.choice(choices),
    )
    addend = rng.choice(("c << drop", "c", "minus")) if level == 5 else ""
    return _scaled_design(shape, addend)


def _scaled_design(shape: _Shape, addend: str) -> Design:
    width_c = shape.width_y if addend == "c << drop" else shape.width_a
    ports = inputs(a=shape.width_a, b=shape.width_b, **({"c": width_c} if addend else {})) + outputs(y=shape.width_y)
    ports += outputs(clipped=1) if shape.is_saturating else ()
    size = max(shape.width_a + shape.width_b, width_c + shape.drop) + 3
    exact = (
        "a * b"
        if not addend
        else {"c << drop": f"a * b + c * 2^{shape.drop}", "c": "a * b + c", "minus": "a * b - c"}[addend]
    )
    value = f"({exact}) / 2^{shape.drop}"
    number = _NUMBERS[shape.is_signed]
    low, high = (-(1 << (shape.width_y - 1)), (1 << (shape.width_y - 1)) - 1)
    if not shape.is_signed:
        low, high = 0, (1 << shape.width_y) - 1
    rounded = _ROUNDINGS[shape.rounding]
    fate = "Only the low bits that fit are kept (the value wraps around)."
    if shape.is_saturating:
        fate = (
            f"A rounded value below {low} becomes {low} and one above {high} becomes {high}; clipped is 1 if that "
            "happens, else 0."
        )
    elif shape.width_y > shape.width_a + shape.width_b - shape.drop:
        fate = "y is wide enough for every value."
    widths = f"a has {shape.width_a} bits, b has {shape.width_b}" + (f", c has {width_c}" if addend else "")
    if addend == "minus" and not shape.is_signed:
        fate = f"(Only here, before saturation, the value may be negative.) {fate}"
    fractions = f"the value has {shape.drop} fraction bits, which are removed"
    return Design(
        params={
            "style": "scaled",
            "widths": f"{shape.width_a},{shape.width_b},{shape.width_y}",
            "drop": shape.drop,
            "is_signed": int(shape.is_signed),
            "rounding": shape.rounding,
            "is_saturating": int(shape.is_saturating),
            "addend": addend,
        },
        ports=ports,
        descriptions=(
            f"All numbers are {number}. Compute {value} from the exact value of {exact}, {rounded}, and output it on y "
            f"({shape.width_y} bits). {fate} Combinational.",
            f"Fixed-point unit, {number}, no clock; {widths}, y has {shape.width_y}. v = {exact}, exact; "
            f"{fractions}: v / 2^{shape.drop} is {rounded}. {fate}",
            f"A signal path forms {exact} without loss ({widths}; everything {number}). It then divides by 2 to "
            f"the power of {shape.drop}; the quotient is {rounded}. {fate} The result goes to y and nothing is stored.",
        ),
        golden=module(ports, "\n".join(_scaled_body(shape, addend, size, (low, high)))),
        protocol=Protocol(),
    )


def _scaled_body(shape: _Shape, addend: str, size: int, bounds: tuple[int, int]) -> list[str]:
    """Verilog of the path. All inner values are signed and wide enough to be exact."""
    drop, (low, high) = shape.drop, bounds
    names = ["a", "b", "c"] if addend else ["a", "b"]
    operand = {name: f"$signed({name})" if shape.is_signed else f"$signed({{1'b0, {name}}})" for name in names}
    last = {"": "", "c << drop": f" + (c_wide <<< {drop})", "c": " + c_wide", "minus": " - c_wide"}[addend]
    lines = [f"wire signed [{size - 1}:0] {name}_wide = {operand[name]};" for name in names]
    lines.append(f"wire signed [{size - 1}:0] exact = a_wide * b_wide{last};")
    rest = f"exact[{drop - 1}:0]"
    half = f"{drop}'d{1 << (drop - 1)}"
    up = {
        "floor": "1'b0",
        "half_up": f"exact[{drop - 1}]",
        "half_even": f"{rest} > {half} || ({rest} == {half} && exact[{drop}])",
        "ceiling": f"{rest} != 0",
        "to_zero": f"exact[{size - 1}] && {rest} != 0",
    }[shape.rounding]
    if shape.rounding == "floor":
        lines.append(f"wire signed [{size - 1}:0] rounded = exact >>> {drop};")
    else:
        lines.append(f"wire up = {up};")
        lines.append(f"wire signed [{size - 1}:0] rounded = (exact >>> {drop}) + $signed({{1'b0, up}});")
    if not shape.is_saturating:
        return [*lines, f"assign y = rounded[{shape.width_y - 1}:0];"]
    top = shape.width_y
    return [
        *lines,
        f"wire below = rounded < {_constant(size, low, True)};",
        f"wire above = rounded > {_constant(size, high, True)};",
        f"assign y = below ? {top}'d{low % (1 << top)} : above ? {top}'d{high} : rounded[{top - 1}:0];",
        "assign clipped = below || above;",
    ]


FAMILY = Family(
    name="fixed_point",
    summary="products with binary points, rounding, saturation and addends",
    draw=draw,
    num_distinct=11 * 11 * 2 + 81 * 2 * 3 * 3 * (1 + 3 + 3 + 3),  # from below: three drops, three output widths
)
