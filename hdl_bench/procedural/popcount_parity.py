"""Reductions, parity, bit counts, thresholds and small error-correcting codes over the bits of a vector."""

import random

from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, literal, module, outputs
from verifiers.types import Protocol

_REDUCTIONS = {  # name -> (Verilog of the masked vector, words)
    "xor": ("^(a & {m})", "the XOR"),
    "xnor": ("~^(a & {m})", "the XNOR (the complement of the XOR)"),
    "or": ("|(a & {m})", "the OR"),
    "nor": ("~|(a & {m})", "the NOR"),
    "and": ("&(a | {n})", "the AND"),
    "nand": ("~&(a | {n})", "the NAND"),
}


def draw(rng: random.Random, level: int) -> Design:
    drawers = {1: _draw_reduction, 2: _draw_count, 3: _draw_threshold, 4: _draw_parities, 5: _draw_correction}
    return drawers[level](rng)


def _mask_words(width: int, mask: int) -> str:
    places = [str(place) for place in range(width) if mask >> place & 1]
    return "all bits of a" if len(places) == width else f"the bits of a at positions {', '.join(places)}"


def _draw_mask(rng: random.Random, width: int) -> int:
    """At least two of the bits; all of them in a third of the draws."""
    if rng.random() < 0.33:
        return (1 << width) - 1
    return sum(1 << place for place in rng.sample(range(width), rng.randint(2, width)))


def _draw_reduction(rng: random.Random) -> Design:
    width, kind = rng.choice((3, 4, 5, 6, 7, 8, 10, 12, 16)), rng.choice(list(_REDUCTIONS))
    mask = _draw_mask(rng, width)
    verilog, words = _REDUCTIONS[kind]
    if mask == (1 << width) - 1:
        expression = verilog.split("(")[0] + "a"
    else:
        expression = verilog.format(m=literal(width, mask, "b"), n=literal(width, ~mask, "b"))
    bits = _mask_words(width, mask)
    ports = inputs(a=width) + outputs(y=1)
    return Design(
        params={"style": "reduction", "width": width, "kind": kind, "mask": mask},
        ports=ports,
        descriptions=(
            f"The one-bit output y should be {words} of {bits}. Bit 0 is the least significant bit.",
            f"y = reduction of {bits} (position 0 is the rightmost) by {words.removeprefix('the ')}. Combinational.",
            f"Look at {bits}, counting positions from 0 at the least significant end, and output {words} of them "
            "on y. All other bits, if there are any, have no effect. There is no clock.",
        ),
        golden=module(ports, f"assign y = {expression};"),
        protocol=Protocol(),
    )


def _count_loop(width: int, mask: int, target: str, value: int) -> list[str]:
    """Statements that count the bits of the masked a which equal `value`."""
    full = (1 << width) - 1
    source = "a" if value else "~a"
    masked = source if mask == full else f"({source} & {literal(width, mask, 'b')})"
    return [
        f"wire [{width - 1}:0] chosen = {masked};",
        "integer i;",
        "always @(*) begin",
        f"  {target} = 0;",
        f"  for (i = 0; i < {width}; i = i + 1)",
        f"    {target} = {target} + chosen[i];",
        "end",
    ]


def _draw_count(rng: random.Random) -> Design:
    width, value, offset = rng.randint(3, 24), rng.randrange(2), rng.choice((0, 0, rng.randint(1, 7)))
    mask = _draw_mask(rng, width)
    num_bits = mask.bit_count()
    size = (num_bits + offset).bit_length()
    ports = inputs(a=width) + outputs(y=size)
    body = _count_loop(width, mask, "y", value)
    body[3] = f"  y = {literal(size, offset)};"
    bits, plus = _mask_words(width, mask), f" plus {offset}" if offset else ""
    return Design(
        params={"style": "count", "width": width, "value": value, "offset": offset, "mask": mask},
        ports=ports,
        descriptions=(
            f"The output y is the number of {value}s among {bits}{plus}, as an unsigned number. Bit 0 is the least "
            "significant bit. Combinational.",
            f"y = count of bits equal to {value}, over {bits}{f' (then add {offset})' if offset else ''}. "
            "Positions are numbered from the least significant bit, 0. No clock.",
            f"Examine {bits} (position 0 is the rightmost bit). Each of them that is {value} counts one"
            + (f", and the count starts from {offset}" if offset else "")
            + ". Present the total on y; nothing is stored.",
        ),
        golden=module(ports, "\n".join(body), registers=("y",)),
        protocol=Protocol(),
    )


_TESTS = {  # name -> (Verilog, words) of the count and the threshold {k}
    "at_least": ("count >= {k}", "at least {k}"),
    "at_most": ("count <= {k}", "at most {k}"),
    "exactly": ("count == {k}", "exactly {k}"),
    "not_exactly": ("count != {k}", "any number other than {k}"),
    "multiple": ("count % {k} == 0", "a multiple of {k} (0 is one)"),
}


def _draw_threshold(rng: random.Random) -> Design:
    width, tests = rng.randint(5, 20), rng.sample(list(_TESTS), 2)
    mask = _draw_mask(rng, width)
    while mask.bit_count() < 4:
        mask = _draw_mask(rng, width)
    limits = [rng.randint(2, mask.bit_count() - 1) for _ in tests]
    ports = inputs(a=width) + outputs(y=1, z=1)
    size = width.bit_length()
    body = [f"reg [{size - 1}:0] count;", *_count_loop(width, mask, "count", 1)]
    rules = []
    for name, test, limit in zip("yz", tests, limits, strict=True):
        body.append(f"assign {name} = {_TESTS[test][0].format(k=limit)};")
        rules.append(f"{name} is 1 if {_TESTS[test][1].format(k=limit)}")
    bits = _mask_words(width, mask)
    return Design(
        params={"style": "threshold", "width": width, "mask": mask, "tests": ",".join(tests), "limits": str(limits)},
        ports=ports,
        descriptions=(
            f"Consider how many of {bits} are 1 (bit 0 is the least significant bit). The output {rules[0]} of "
            f"them are, otherwise 0. The output {rules[1]} of them are, otherwise 0. Combinational.",
            f"n = number of ones among {bits}, positions counted from the least significant bit. y = (n is "
            f"{_TESTS[tests[0]][1].format(k=limits[0])}); z = (n is {_TESTS[tests[1]][1].format(k=limits[1])}).",
            f"A voter without memory watches {bits}; position 0 is the rightmost. Counting the ones there, it "
            f"raises y for {_TESTS[tests[0]][1].format(k=limits[0])} and z for "
            f"{_TESTS[tests[1]][1].format(k=limits[1])}; otherwise each is low.",
        ),
        golden=module(ports, "\n".join(body)),
        protocol=Protocol(),
    )


def _draw_parities(rng: random.Random) -> Design:
    """Several parity bits of drawn groups and polarities, and a check of them against received ones."""
    width, num_checks = rng.choice((6, 8, 10, 12, 16)), rng.randint(2, 4)
    masks = rng.sample(range(3, 1 << width), num_checks)
    odds = [rng.randrange(2) for _ in masks]
    ports = inputs(a=width, p=num_checks) + outputs(q=num_checks, error=1)
    body = [
        f"assign q[{place}] = {'~' * odd}^(a & {literal(width, mask, 'b')});"
        for place, (mask, odd) in enumerate(zip(masks, odds, strict=True))
    ]
    body.append("assign error = q != p;")
    groups = [
        f"q[{place}] is chosen so that {_mask_words(width, mask)} and q[{place}] together hold an "
        f"{'odd' if odd else 'even'} number of ones"
        for place, (mask, odd) in enumerate(zip(masks, odds, strict=True))
    ]
    sums = [
        f"q[{place}] = {'NOT ' if odd else ''}XOR of {_mask_words(width, mask)}"
        for place, (mask, odd) in enumerate(zip(masks, odds, strict=True))
    ]
    return Design(
        params={"style": "parities", "width": width, "masks": str(masks), "odds": str(odds)},
        ports=ports,
        descriptions=(
            f"Generate parity bits for the word a: {'; '.join(groups)}. The input p holds received parity bits; "
            "error is 1 if p differs from q in any bit, else 0. Bit 0 is the least significant bit; there is no "
            "clock.",
            f"{'; '.join(sums)}. error = 1 unless p equals q. Position 0 is the least significant bit. Combinational.",
            f"A memory controller recomputes {num_checks} check bits. {'; '.join(groups)}. It compares them with "
            "the stored ones on p and reports any difference by error = 1 (0 when all agree). Positions count "
            "from the least significant bit, 0, and nothing is registered.",
        ),
        golden=module(ports, "\n".join(body)),
        protocol=Protocol(),
    )


def _draw_correction(rng: random.Random) -> Design:
    """A single-error corrector with drawn syndromes: each data bit has its own column of the check matrix."""
    width, num_checks = rng.choice((4, 5, 6, 7, 8)), 4
    several = [code for code in range(1 << num_checks) if code.bit_count() >= 2]
    columns = rng.sample(several, width)
    masks = [sum((column >> check & 1) << bit for bit, column in enumerate(columns)) for check in range(num_checks)]
    odd = rng.randrange(1 << num_checks)
    ports = inputs(d=width, p=num_checks) + outputs(q=width, corrected=1, fatal=1)
    body = [f"wire [{num_checks - 1}:0] s;"]
    body += [
        f"assign s[{check}] = ^(d & {literal(width, mask, 'b')}) ^ "
        f"p[{check}]{' ^ 1' + chr(39) + 'b1' if odd >> check & 1 else ''};"
        for check, mask in enumerate(masks)
    ]
    body += [
        f"assign q[{bit}] = d[{bit}] ^ (s == {literal(num_checks, column, 'b')});" for bit, column in enumerate(columns)
    ]
    singles = [literal(num_checks, 1 << check, "b") for check in range(num_checks)]
    body.append("assign corrected = q != d;")
    body.append(f"assign fatal = s != {literal(num_checks, 0, 'b')} && !corrected")
    body[-1] += "".join(f" && s != {single}" for single in singles) + ";"
    terms = [
        f"s[{check}] = {'NOT ' if odd >> check & 1 else ''}XOR of p[{check}]"
        + "".join(f", d[{bit}]" for bit in range(width) if mask >> bit & 1)
        for check, mask in enumerate(masks)
    ]
    fixes = ", ".join(f"{column:0{num_checks}b} for d[{bit}]" for bit, column in enumerate(columns))
    return Design(
        params={"style": "correction", "width": width, "columns": str(columns), "odd": odd},
        ports=ports,
        descriptions=(
            f"Correct single-bit errors in the data word d with the check bits p. Syndrome: {'; '.join(terms)}. If the "
            f"syndrome s (written s[3] to s[0]) names a data bit, that bit is wrong: {fixes}. The output q is d "
            "with the wrong bit inverted, or d itself when no data bit is named. corrected is 1 if a data bit was "
            "inverted. fatal is 1 if s is not zero, has more than one 1 and names no data bit. Otherwise both are "
            "0. Combinational.",
            f"{'; '.join(terms)}. Flip table (s as s[3]s[2]s[1]s[0]): {fixes}. q = d with the listed bit flipped, "
            "else d. corrected = (a bit was flipped). fatal = s has two or more ones and is not in the table. No "
            "clock.",
            f"An error corrector receives {width} data bits and four check bits. It forms four sums: "
            f"{'; '.join(terms)}. Read as a binary number with s[3] first, they tell which data bit to invert in "
            f"q: {fixes}; corrected is then 1. A zero s, or one with a single 1 (a wrong check bit), leaves the "
            "data alone with both flags 0. Any other value also leaves the data alone, but sets fatal to 1 "
            "(corrected stays 0). Nothing is stored.",
        ),
        golden=module(ports, "\n".join(body)),
        protocol=Protocol(),
    )


FAMILY = Family(
    name="popcount_parity",
    summary="reductions, parity, bit counts, thresholds and error correction",
    draw=draw,
    num_distinct=6 * sum(2**width - width - 1 for width in (3, 4, 5, 6, 7, 8, 10, 12)) + 100_000,
)
