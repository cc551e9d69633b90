"""Accumulators: running sums and other folds, extremes, multiply-accumulate, saturation, filters over a window."""

import random

from hdl_bench.procedural.clocked import NUM_CLOCKINGS, draw_clocking, if_else
from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, listing, literal, module, outputs

_WIDTHS = (2, 3, 4, 5, 6, 7, 8, 10, 12, 16)
_FOLDS = {  # name -> (Verilog, words)
    "add": ("acc + d", "the sum of acc and d"),
    "subtract": ("acc - d", "acc minus d"),
    "reverse": ("d - acc", "d minus acc"),
    "xor": ("acc ^ d", "the bitwise XOR of acc and d"),
    "xnor": ("~(acc ^ d)", "the bitwise XNOR of acc and d"),
}


def draw(rng: random.Random, level: int) -> Design:
    return {1: _draw_fold, 2: _draw_extreme, 3: _draw_mac, 4: _draw_saturating, 5: _draw_filter}[level](rng)


def _draw_fold(rng: random.Random) -> Design:
    """acc and d of equal width, one operation."""
    clocking, width, fold = draw_clocking(rng), rng.choice(_WIDTHS), rng.choice(sorted(_FOLDS))
    value = rng.choice((0, rng.randrange(1 << width)))
    start, (expression, words) = literal(width, value), _FOLDS[fold]
    wrap = "" if "xor" in fold or "xnor" in fold else f" modulo {1 << width}"
    ports = clocking.ports + inputs(d=width) + outputs(acc=width)
    return Design(
        params={**clocking.params, "width": width, "fold": fold, "value": value},
        ports=ports,
        descriptions=clocking.describe(
            f"acc to {start}",
            (
                f"At every other clock edge acc becomes {words}{wrap}.",
                f"Otherwise acc <= {expression}{wrap}.",
                f"acc is an accumulator: each clock edge without reset replaces it by {words}{wrap}.",
            ),
        ),
        golden=module(ports, clocking.always(f"acc <= {start};", f"acc <= {expression};"), registers=("acc",)),
        protocol=clocking.protocol(),
    )


def _draw_extreme(rng: random.Random) -> Design:
    """The largest or smallest value since the reset, signed or not, with an enable."""
    clocking, width = draw_clocking(rng, has_both_edges=True), rng.choice(_WIDTHS)
    kind, is_signed, active = rng.choice(("max", "min")), rng.random() < 0.5, rng.choice((1, 0))
    lowest, highest = (1 << (width - 1), (1 << (width - 1)) - 1) if is_signed else (0, (1 << width) - 1)
    # A middle start value lets the reset say more than "the worst".
    value = rng.choice((lowest if kind == "max" else highest, rng.randrange(1 << width)))
    sign = "<" if kind == "min" else ">"
    test = f"$signed(d) {sign} $signed(best)" if is_signed else f"d {sign} best"
    reading = "signed (two's complement)" if is_signed else "unsigned"
    enabled, word = ("en" if active else "!en"), "larger" if kind == "max" else "smaller"
    start = literal(width, value)
    ports = clocking.ports + inputs(en=1, d=width) + outputs(best=width)
    return Design(
        params={**clocking.params, "width": width, "kind": kind, "signed": int(is_signed), "enable": active}
        | {"value": value},
        ports=ports,
        descriptions=clocking.describe(
            f"best to {start}",
            (
                f"At every other clock edge with en = {active}, best takes d if d is {word} than best, both as "
                f"{reading} numbers. In all other cases best keeps its value.",
                f"Otherwise: en = {active} and d {sign} best ({reading}): best <= d; else hold.",
                f"best remembers the {kind}imum. It looks at d only at clock edges with en "
                f"{'high' if active else 'low'} and then moves to d when d is {word}; both are {reading}.",
            ),
        ),
        golden=module(
            ports,
            clocking.always(f"best <= {start};", if_else((f"{enabled} && {test}", "best <= d;"))),
            registers=("best",),
        ),
        protocol=clocking.protocol(),
    )


def _draw_mac(rng: random.Random) -> Design:
    """Multiply-accumulate, signed or not, with a clear that starts a new sum or just zeroes it."""
    clocking, width = draw_clocking(rng, has_both_edges=True), rng.choice((2, 3, 4, 5, 6, 8))
    extra, is_signed, sign = rng.randint(0, 6), rng.random() < 0.5, rng.choice(("+", "-"))
    start, first = rng.choice(("zero", "product")), rng.choice(("clear", "enable"))
    total = 2 * width + extra
    a, b = ("$signed(a)", "$signed(b)") if is_signed else ("a", "b")
    product = f"{a} * {b}"
    fresh = {("zero", "+"): "0", ("zero", "-"): "0", ("product", "+"): product, ("product", "-"): f"-({product})"}
    new, more = f"acc <= {fresh[start, sign]};", f"acc <= acc {sign} {product};"
    if is_signed:
        more = f"acc <= $signed(acc) {sign} {product};"
    reading = "signed (two's complement)" if is_signed else "unsigned"
    verb = "adds the product of a and b to acc" if sign == "+" else "subtracts the product of a and b from acc"
    cleared = {"zero": "sets acc to 0", "product": f"sets acc to {'' if sign == '+' else 'minus '}the product"}[start]
    order = f"clear = 1 {cleared}, whatever en is; else en = 1 {verb}; else acc holds"
    body = if_else(("clear", new), ("en", more))
    if first == "enable":
        body = if_else(("en", if_else(("clear", new), otherwise=more)))
        order = f"en = 0 holds acc, whatever clear is; else clear = 1 {cleared}; else the edge {verb}"
    ports = clocking.ports + inputs(en=1, clear=1, a=width, b=width) + outputs(acc=total)
    return Design(
        params={**clocking.params, "width": width, "extra": extra, "signed": int(is_signed), "sign": sign}
        | {"start": start, "first": first},
        ports=ports,
        descriptions=clocking.describe(
            "acc to 0",
            (
                f"a and b are {reading} numbers; their product is not truncated, and acc works modulo "
                f"2^{total}. At every other clock edge, in this order of priority: {order}.",
                f"Otherwise: {order}. Operands and product {reading}, extended to the {total} bits of acc; acc wraps.",
                f"The module is a multiply-accumulate unit for {reading} numbers. The full product is extended "
                f"to {total} bits, and acc simply overflows. At a clock edge, {order}.",
            ),
        ),
        golden=module(ports, clocking.always("acc <= 0;", body), registers=("acc",)),
        protocol=clocking.protocol(rare_high=("clear",), rare_low=("en",)),
    )


def _draw_saturating(rng: random.Random) -> Design:
    """A sum of signed or unsigned samples that stops at limits and remembers that it did."""
    clocking, width = draw_clocking(rng, has_both_edges=True), rng.choice((4, 5, 6, 7, 8))
    total = width + rng.randint(1, 3)
    space = 1 << (total - 1)
    high = rng.randint(space // 4, space - 1)
    low = -rng.randint(space // 4, space)
    is_sticky, is_gated = rng.random() < 0.5, rng.random() < 0.5
    wide = total + 1
    ports = clocking.ports + inputs(en=1, d=width) + outputs(acc=total, limited=1)
    kept = "limited | over | under" if is_sticky else "over | under"
    step = f"limited <= {kept};\n"
    step += f"acc <= over ? {literal(total, high, 'h')} : under ? {literal(total, low, 'h')} : sum[{total - 1}:0];"
    body = "\n".join(
        (
            f"wire signed [{wide - 1}:0] sum = $signed(acc) + $signed(d);",
            f"wire over = sum > {high};",
            f"wire under = sum < {low};",
            clocking.always(
                "acc <= 0;\nlimited <= 0;",
                if_else(("en", step))
                if is_gated
                else if_else(("en", step), otherwise="" if is_sticky else "limited <= 0;"),
            ),
        )
    )
    # A sticky flag has nothing to do at idle edges.
    is_gated = is_gated or is_sticky
    idle = "limited too keeps its value" if is_gated else "limited becomes 0"
    flag = (
        "limited becomes 1 when a sum had to be limited and then stays 1 until reset"
        if is_sticky
        else "limited becomes 1 if the sum of this very edge had to be limited, and 0 if not"
    )
    return Design(
        params={**clocking.params, "width": width, "total": total, "low": low, "high": high}
        | {"sticky": int(is_sticky), "gated": int(is_gated)},
        ports=ports,
        descriptions=clocking.describe(
            "acc to 0 and limited to 0",
            (
                f"d and acc are signed (two's complement). At every other clock edge with en = 1 the exact sum acc + d "
                f"is formed and limited to the range {low} to {high}: a larger sum gives {high}, a smaller one {low}; "
                f"the result is the new acc. At these edges {flag}. With en = 0 acc keeps its value, and {idle}.",
                f"Otherwise en = 1: acc <= min({high}, max({low}, acc + d)), all signed and without overflow; {flag}. "
                f"en = 0: acc holds, {idle}.",
                f"The accumulator adds signed samples d and never leaves {low}..{high}: where the true sum would, acc "
                f"stops at the limit it ran into. It works only at edges with en high; in between acc holds its "
                f"value and {idle}. As to the flag at working edges: {flag}.",
            ),
        ),
        golden=module(ports, body, registers=("acc", "limited")),
        protocol=clocking.protocol(min_cycles=600, rare_low=("en",)),
    )


def _draw_filter(rng: random.Random) -> Design:
    """A weighted sum of the last samples: a finite impulse response filter with small constant weights."""
    clocking, width = draw_clocking(rng, has_both_edges=True), rng.choice((4, 5, 6, 7, 8))
    num_taps, is_signed, has_enable = rng.choice((3, 4, 5)), rng.random() < 0.5, rng.random() < 0.5
    weights = [rng.choice((-3, -2, -1, 1, 2, 3, 4)) for _ in range(num_taps)]
    # The largest sum is 5 * 4 * 2**width: six more bits hold every sum.
    total, ages = width + 6, [f"x{age}" for age in range(1, num_taps)]
    names = ["d", *ages]
    terms = []
    for weight, name in zip(weights, names, strict=True):
        # One zero in front makes an unsigned sample a signed number.
        sample = f"$signed({name})" if is_signed else f"$signed({{1'b0, {name}}})"
        terms.append(f"{'-' if weight < 0 else '+'} {sample if abs(weight) == 1 else f'{abs(weight)} * {sample}'}")
    expression = " ".join(terms).removeprefix("+ ").replace("- ", "-", 1) if weights[0] < 0 else " ".join(terms)[2:]
    step = "\n".join(f"{new} <= {old};" for old, new in zip(names, ages, strict=False)) + f"\ny <= {expression};"
    resets = "".join(f"{name} <= 0;\n" for name in ages) + "y <= 0;"
    body = f"reg [{width - 1}:0] {', '.join(ages)};\n" + clocking.always(
        resets, if_else(("en", step)) if has_enable else step
    )
    reading = "signed (two's complement)" if is_signed else "unsigned"
    edges = "clock edge with en = 1" if has_enable else "clock edge"
    idle = " Edges with en = 0 change nothing and take no sample." if has_enable else ""
    formula = listing([f"{weight} times {_age(age)}" for age, weight in enumerate(weights)])
    ports = clocking.ports + (inputs(en=1) if has_enable else ()) + inputs(d=width) + outputs(y=total)
    return Design(
        params={**clocking.params, "width": width, "weights": ",".join(map(str, weights)), "signed": int(is_signed)}
        | {"enable": int(has_enable)},
        ports=ports,
        descriptions=clocking.describe(
            "y and all remembered samples to 0",
            (
                f"At every other {edges} a sample of d ({reading}) is taken and y becomes the weighted sum of the last "
                f"samples: {formula}.{idle} y is a register and a signed number of {total} bits (two's complement); "
                "no sum overflows. Samples from before the reset count as 0.",
                f"Otherwise, each {edges}: y <= sum of w[k] * x[k], x[0] being the d of this edge and x[k] the d taken "
                f"k samples before, w = ({', '.join(map(str, weights))}). d is {reading}, y signed.{idle}",
                f"It is a digital filter. Every {edges} brings in one sample d, read as {reading}, and registers in y, "
                f"as a signed {total}-bit number, {formula}.{idle} After a reset the older samples are zeros.",
            ),
        ),
        golden=module(ports, body, registers=("y",)),
        protocol=clocking.protocol(rare_low=("en",) if has_enable else ()),
    )


def _age(age: int) -> str:
    return ("this sample", "the one before it")[age] if age < 2 else f"the sample {age} samples earlier"


def _num_distinct() -> int:
    values = sum(1 << width for width in _WIDTHS)
    num_folds = values * len(_FOLDS) * (NUM_CLOCKINGS // 2)
    num_extremes = values * NUM_CLOCKINGS * 2 * 2 * 2
    num_macs = NUM_CLOCKINGS * 6 * 7 * 2 * 2 * 2 * 2
    num_filters = NUM_CLOCKINGS * 5 * (7**3 + 7**4 + 7**5) * 2 * 2
    return num_folds + num_extremes + num_macs + num_filters


FAMILY = Family(
    name="accumulator_mac",
    summary="accumulators, extremes, multiply-accumulate, saturating sums, filters",
    draw=draw,
    num_distinct=_num_distinct(),
)
