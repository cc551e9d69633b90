"""Decimal digits and lookup tables: digit arithmetic, seven-segment codes, conversions from and to BCD, BCD sums."""

import random

from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, literal, module, outputs
from verifiers.types import Protocol

_SEGMENTS = ("abcdef", "bc", "abdeg", "abcdg", "bcfg", "acdfg", "acdefg", "abc", "abcdefg", "abcdfg")  # lit for 0 to 9


def draw(rng: random.Random, level: int) -> Design:
    drawers = {1: _draw_digit, 2: _draw_table, 3: _draw_segments, 4: _draw_conversion, 5: _draw_sum}
    return drawers[level](rng)


def _draw_digit(rng: random.Random) -> Design:
    """A code for a decimal digit, and a constant for the six values that are none."""
    is_complement, invalid = rng.random() < 0.4, rng.randrange(16)
    constant = rng.randrange(9, 16) if is_complement else rng.randrange(1, 16)
    ports = inputs(d=4) + outputs(y=4)
    value = f"{literal(4, constant)} - d" if is_complement else f"d + {literal(4, constant)}"
    words = f"{constant} - d" if is_complement else f"d + {constant}"
    wrap = "" if is_complement or constant + 9 < 16 else " modulo 16"
    return Design(
        params={"style": "digit", "is_complement": int(is_complement), "constant": constant, "invalid": invalid},
        ports=ports,
        descriptions=(
            f"The input d is a decimal digit. If it is 0 to 9, y should be {words}{wrap}. If it is 10 to 15, y "
            f"should be {invalid}.",
            f"y = d is a valid BCD digit ? ({words}){wrap} : {invalid}. Combinational, unsigned.",
            f"A digit recoder without a clock: for every valid BCD digit d (at most 9) it outputs {words}{wrap} on "
            f"y. The six invalid codes all give {invalid} (decimal).",
        ),
        golden=module(ports, f"assign y = (d <= 4'd9) ? {value} : {literal(4, invalid)};"),
        protocol=Protocol(),
    )


def _draw_table(rng: random.Random) -> Design:
    """A lookup table with a default for the indices left out."""
    size, width = rng.choice((3, 4)), rng.choice((4, 7, 8, 10, 12))
    num_entries = rng.randint(5, (1 << size) - 1) if size == 3 else rng.randint(6, 10)
    indices = sorted(rng.sample(range(1 << size), num_entries))
    entries = {index: rng.randrange(1 << width) for index in indices}
    default = rng.randrange(1 << width)
    entries = {index: entry for index, entry in entries.items() if entry != default}
    digits = (width + 3) // 4
    ports = inputs(d=size) + outputs(y=width)
    arms = [f"    {literal(size, index)}: y = {literal(width, entry, 'h')};" for index, entry in entries.items()]
    body = [
        "always @(*) begin",
        "  case (d)",
        *arms,
        f"    default: y = {literal(width, default, 'h')};",
        "  endcase",
        "end",
    ]
    spelled = [(index, f"{entry:0{digits}x}") for index, entry in entries.items()]
    rest = f"{default:0{digits}x}"
    return Design(
        params={
            "style": "table",
            "size": size,
            "width": width,
            "default": default,
            "entries": ",".join(f"{index}:{entry}" for index, entry in entries.items()),
        },
        ports=ports,
        descriptions=(
            "Implement this lookup table, with the index d in decimal and the value y in hexadecimal: "
            f"{', '.join(f'{index} gives {entry}' for index, entry in spelled)}. All other indices give {rest}.",
            "Combinational ROM.\nd (decimal)  y (hex)\n"
            + "\n".join(f"  {index}  {entry}" for index, entry in spelled)
            + f"\n  other  {rest}",
            f"A code converter maps the number d to y without a clock. Unless stated below, y is hexadecimal {rest}. "
            + " ".join(f"For d = {index} it is {entry}." for index, entry in spelled)
            + " Indices are decimal, values hexadecimal.",
        ),
        golden=module(ports, "\n".join(body), registers=("y",)),
        protocol=Protocol(),
    )


def _draw_segments(rng: random.Random) -> Design:
    """A seven-segment decoder with a drawn bit for each segment, either polarity and a rule for invalid digits."""
    order, is_low, invalid = rng.sample("abcdefg", 7), rng.random() < 0.5, rng.choice(("blank", "dash", "e"))
    has_blank = rng.random() < 0.5
    lit = [*_SEGMENTS, {"blank": "", "dash": "g", "e": "adefg"}[invalid]]
    codes = [sum(1 << bit for bit, segment in enumerate(order) if segment in names) for names in lit]
    ports = inputs(**({"blank": 1} if has_blank else {}), d=4) + outputs(seg=7)
    arms = [f"    4'd{digit}: on = {literal(7, code, 'b')};" for digit, code in enumerate(codes[:-1])]
    body = ["reg [6:0] on;", "always @(*) begin", "  case (d)", *arms]
    body += [f"    default: on = {literal(7, codes[-1], 'b')};", "  endcase"]
    body += ["  if (blank) on = 7'b0000000;"] if has_blank else []
    body += ["end", f"assign seg = {'~' * is_low}on;"]
    wires = ", ".join(f"seg[{bit}] is segment {segment}" for bit, segment in enumerate(order))
    shapes = ", ".join(f"{digit}: {names}" for digit, names in enumerate(_SEGMENTS))
    wrong = {"blank": "no segment is lit", "dash": "only segment g is lit", "e": "the segments adefg are lit"}[invalid]
    dark = " If blank is 1, no segment is lit, whatever d is." if has_blank else ""
    level = f"A segment is lit by a {0 if is_low else 1} and dark by a {1 if is_low else 0}."
    return Design(
        params={
            "style": "segments",
            "order": "".join(order),
            "is_low": int(is_low),
            "invalid": invalid,
            "has_blank": int(has_blank),
        },
        ports=ports,
        descriptions=(
            f"Decode the digit d for a seven-segment display. The segments lit for each digit are {shapes}. For d "
            f"above 9, {wrong}.{dark} Wiring: {wires}. {level} Combinational.",
            f"BCD to seven segments. {wires}. Active {'low' if is_low else 'high'}. Lit segments by digit: "
            f"{shapes}; 10 to 15: {wrong}.{dark} No clock.",
            f"A display has segments a to g. {level} Its cable is wired so that {wires}. Show the digit d on it "
            f"with these shapes: {shapes}. When d is no decimal digit, {wrong}.{dark} Nothing is stored.",
        ),
        golden=module(ports, "\n".join(body)),
        protocol=Protocol(),
    )


def _draw_conversion(rng: random.Random) -> Design:
    """Binary to BCD or back, of two or three digits, with an offset or factor, and a rule for what is out of range."""
    num_digits, factor, invalid = rng.choice((2, 3)), rng.choice((1, 1, 2, 3, 5)), rng.choice(("zero", "ones"))
    constant = rng.randint(0, 10**num_digits // 4)
    if rng.random() < 0.5:
        return _from_bcd(num_digits, constant, factor, invalid)
    limit = 10**num_digits
    size = rng.randint((limit // factor).bit_length(), limit.bit_length() + 1)  # so that n can pass the limit
    wide = (((1 << size) - 1) * factor + constant).bit_length()
    ports = inputs(a=size) + outputs(bcd=4 * num_digits, overflow=1)
    product = f"a * {factor}" if factor > 1 else "a"
    body = [
        f"wire [{max(wide, 4)}:0] n = {product}{f' + {constant}' if constant else ''};",
        f"assign overflow = n >= {limit};",
    ]
    fill = f"{{{4 * num_digits}{{1'b{int(invalid == 'ones')}}}}}"
    for place in range(num_digits):
        body.append(f"wire [3:0] digit{place} = {_digit('n', place)};")
    joined = ", ".join(f"digit{place}" for place in reversed(range(num_digits)))
    body.append(f"assign bcd = overflow ? {fill} : {{{joined}}};")
    value = f"{factor} * a" if factor > 1 else "a"
    value += f" + {constant}" if constant else ""
    words = {"zero": "all zeros", "ones": "all ones"}[invalid]
    return Design(
        params={
            "style": "to_bcd",
            "num_digits": num_digits,
            "size": size,
            "constant": constant,
            "factor": factor,
            "invalid": invalid,
        },
        ports=ports,
        descriptions=(
            f"Let n = {value}, computed exactly from the unsigned input a. If n is at most {limit - 1}, bcd holds its "
            f"{num_digits} decimal digits, four bits each, the units in the lowest four bits, and overflow is 0. "
            f"If n is larger, overflow is 1 and bcd is {words}. Combinational.",
            f"n = {value} (no wrap-around). overflow = (n > {limit - 1}). bcd = overflow ? {words} : "
            f"{num_digits}-digit BCD of n, most significant digit in the most significant bits. No clock.",
            f"Show the number {value} in decimal (a is unsigned and nothing is lost on the way): bcd has "
            f"{num_digits} digits of four bits with the units at the bottom and leading zeros as needed. Numbers "
            f"above {limit - 1} do not fit; for them, and only for them, overflow is 1, and bcd becomes {words}. "
            "Nothing is stored.",
        ),
        golden=module(ports, "\n".join(body)),
        protocol=Protocol(),
    )


def _digit(number: str, place: int) -> str:
    """The Verilog of one decimal digit of a number; place 0 is the units."""
    return f"{number} / {10**place} % 10" if place else f"{number} % 10"


def _from_bcd(num_digits: int, constant: int, factor: int, invalid: str) -> Design:
    """BCD to binary; a digit above 9 makes the input invalid."""
    top = (10**num_digits - 1) * factor + constant
    width = top.bit_length()
    ports = inputs(bcd=4 * num_digits) + outputs(y=width, invalid=1)
    names = [f"bcd[{4 * place + 3}:{4 * place}]" for place in range(num_digits)]
    total = " + ".join(f"{name} * {10**place * factor}" for place, name in enumerate(names))
    fill = f"{{{width}{{1'b{int(invalid == 'ones')}}}}}"
    body = [
        f"assign invalid = {' || '.join(f'{name} > 4{chr(39)}d9' for name in names)};",
        f"wire [{width - 1}:0] n = {total}{f' + {constant}' if constant else ''};",
        f"assign y = invalid ? {fill} : n;",
    ]
    value = (f"{factor} times " if factor > 1 else "") + "the number" + (f", plus {constant}" if constant else "")
    words = {"zero": "all zeros", "ones": "all ones"}[invalid]
    return Design(
        params={
            "style": "from_bcd",
            "num_digits": num_digits,
            "constant": constant,
            "factor": factor,
            "invalid": invalid,
        },
        ports=ports,
        descriptions=(
            f"The input bcd holds a number of {num_digits} decimal digits, four bits each, with the units in the "
            f"lowest four bits. If every digit is at most 9, y is {value}, in binary, and invalid is 0. Otherwise "
            f"y is {words} and invalid is 1. Combinational.",
            f"Convert bcd from BCD to binary, {num_digits} digits, units lowest. invalid = some digit > 9. y = invalid "
            f"? {words} : {value} (unsigned binary). No clock.",
            "Decode packed decimal: each group of four bits of bcd is one digit, the most significant digit in "
            "the most significant bits. A digit of 10 to 15 makes the whole input bad; then invalid is 1 and y is "
            f"{words}. For a good input invalid is 0 and y, as an unsigned binary value, is {value}. Nothing is "
            "stored.",
        ),
        golden=module(ports, "\n".join(body)),
        protocol=Protocol(),
    )


def _draw_sum(rng: random.Random) -> Design:
    """A BCD adder or subtractor of several digits with a decimal constant, in nine's complement for the difference."""
    num_digits, kind, constant = rng.choice((2, 3)), rng.choice(("add", "subtract", "mode")), rng.randint(0, 99)
    is_excess = rng.random() < 0.3  # each output digit is coded excess-3
    size, limit = 4 * num_digits, 10**num_digits
    has_sub, worth = kind == "mode", rng.choice((0, 9))  # what a digit that is none counts as
    ports = inputs(**({"sub": 1} if has_sub else {}), a=size, b=size) + outputs(y=size, carry=1)
    decode = {
        name: " + ".join(
            f"({name}[{4 * p + 3}:{4 * p}] > 9 ? {worth} : {name}[{4 * p + 3}:{4 * p}]) * {10**p}"
            for p in range(num_digits)
        )
        for name in "ab"
    }
    bits = (2 * limit + 100).bit_length()
    plus = f" + {constant}" if constant else ""
    total = {"add": f"m + n{plus}", "subtract": f"m + {limit} - n{plus}"}
    total["mode"] = f"sub ? {total['subtract']} : {total['add']}"
    is_borrow = {"add": "0", "subtract": "1", "mode": "sub"}[kind]
    body = [
        f"wire [{bits}:0] m = {decode['a']};",
        f"wire [{bits}:0] n = {decode['b']};",
        f"wire [{bits}:0] t = {total[kind]};",
    ]
    digits = [f"{_digit('t', p)}{' + 3' if is_excess else ''}" for p in range(num_digits)]
    body += [f"wire [3:0] digit{p} = {digit};" for p, digit in enumerate(digits)]
    body.append(f"assign y = {{{', '.join(f'digit{p}' for p in reversed(range(num_digits)))}}};")
    carry = f"t >= {limit}"
    body.append(
        f"assign carry = {carry};"
        if is_borrow == "0"
        else f"assign carry = {'t < ' + str(limit) if is_borrow == '1' else f'sub ? t < {limit} : {carry}'};"
    )
    added, taken = f"a + b{plus}", f"a - b{plus}"
    adds = f"y is {added} modulo {limit} and carry is 1 if {added} is {limit} or more, else 0"
    takes = f"y is {taken} modulo {limit} and carry is 1 if {taken} is negative, else 0"
    rule = {"add": adds, "subtract": takes, "mode": f"when sub is 0, {adds}; when sub is 1, {takes}"}[kind]
    code = "Each digit of y is coded in excess-3 (the digit plus 3)." if is_excess else "Each digit of y is plain BCD."
    bad = f"An input digit of 10 to 15 counts as {worth}."
    return Design(
        params={
            "style": "sum",
            "num_digits": num_digits,
            "kind": kind,
            "constant": constant,
            "is_excess": int(is_excess),
            "worth": worth,
        },
        ports=ports,
        descriptions=(
            f"a and b are decimal numbers of {num_digits} BCD digits, four bits each, with the units in the lowest "
            f"four bits; y has the same layout. In decimal, {rule}. {code} {bad} Combinational.",
            f"{num_digits}-digit BCD arithmetic, units lowest, no clock: {rule}. {bad} {code}",
            f"A decimal calculator cell reads two packed numbers, a and b, with {num_digits} digits of four bits (most "
            f"significant digit in the most significant bits). {bad} Then {rule}. The digits of the result go to y "
            f"in the same order. {code} It has no memory.",
        ),
        golden=module(ports, "\n".join(body)),
        protocol=Protocol(),
    )


FAMILY = Family(
    name="bcd_convert",
    summary="decimal digits: recoding, lookup tables, seven segments, BCD conversion and sums",
    draw=draw,
    num_distinct=7 * 16 + 15 * 16 + 5040 * 2 * 3 * 2 + 100_000,  # levels 1, 3, and 2 from below
)
