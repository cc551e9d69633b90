"""The combinational families: goldens run in Icarus against values by hand and against models of the parameters.

A model here reads a design's parameters and computes with Python integers, apart from the code that wrote the Verilog.
"""

import itertools
import random
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from hdl_bench.procedural.families import FAMILIES
from hdl_bench.procedural.family import Design
from hdl_bench.procedural.verilog import listing, literal

LAST_STEPS = ("and", "or", "xor", "and_not", "or_not", "nand", "nor", "xnor", "not_and", "not_or")
Row = dict[str, int]
Model = Callable[[dict, Row], Row]  # parameters and inputs -> the outputs that it vouches for


def play(tmp_path: Path, design: Design, rows: list[Row]) -> list[Row]:
    """The outputs of the golden under each row of inputs."""
    inputs = [port for port in design.ports if port.direction == "input"]
    outputs = [port for port in design.ports if port.direction == "output"]
    lines = ["module tb;"]
    lines += [f"reg [{port.width - 1}:0] {port.name};" for port in inputs]
    lines += [f"wire [{port.width - 1}:0] {port.name};" for port in outputs]
    names = [port.name for port in design.ports]
    lines += [f"TopModule dut ({', '.join(f'.{name}({name})' for name in names)});", "initial begin"]
    for row in rows:
        lines += [f"{port.name} = {literal(port.width, row[port.name], 'h')};" for port in inputs]
        lines.append(f'#1 $display("{" ".join("%b" for _ in outputs)}", {", ".join(port.name for port in outputs)});')
    source, program = tmp_path / "tb.v", tmp_path / "tb.vvp"
    source.write_text("\n".join([*lines, "end", "endmodule", design.golden]))
    subprocess.run(["iverilog", "-g2012", "-o", str(program), str(source)], check=True, timeout=20)
    result = subprocess.run(["vvp", "-n", str(program)], check=True, timeout=20, capture_output=True, text=True)
    values = [line.split() for line in result.stdout.splitlines()]
    assert len(values) == len(rows)
    return [{port.name: int(bits, 2) for port, bits in zip(outputs, line, strict=True)} for line in values]


def random_rows(design: Design, rng: random.Random, num_rows: int = 60) -> list[Row]:
    """Random inputs, with zeros and ones in all bits among them."""
    inputs = [port for port in design.ports if port.direction == "input"]
    return [
        {p.name: rng.choice((0, (1 << p.width) - 1, *(rng.randrange(1 << p.width) for _ in range(6)))) for p in inputs}
        for _ in range(num_rows)
    ]


def find(name: str, level: int, **wanted: int | str) -> Design:
    """The first draw with these parameters."""
    for seed in range(30_000):
        design = FAMILIES[name].draw(random.Random(seed), level)
        if wanted.items() <= design.params.items():
            return design
    raise AssertionError(f"no draw of {name}, level {level}, with {wanted}")


def signed(value: int, width: int) -> int:
    return value - (1 << width) if value >> (width - 1) & 1 else value


def from_gray(code: int) -> int:
    number = 0
    while code:
        number, code = number ^ code, code >> 1
    return number


def gates_model(params: dict, row: Row) -> Row:
    index = int("".join(str(row[name]) for name in "abcdef"[: params["num_inputs"]]), 2)
    tables = params["tables"].split(",")
    names = {1: "y", 2: "yz", 3: "xyz"}[len(tables)]
    return {name: int(table[index]) for name, table in zip(names, tables, strict=True)}


def bitwise_model(params: dict, row: Row) -> Row:
    full = (1 << params["width"]) - 1
    value = row["a"]
    for step, name in zip(params["steps"].split(","), "bcdefg", strict=False):
        other = row[name]
        value = (
            full
            & {
                "and": value & other,
                "or": value | other,
                "xor": value ^ other,
                "and_not": value & ~other,
                "or_not": value | ~other,
                "nand": ~(value & other),
                "nor": ~(value | other),
                "xnor": ~(value ^ other),
                "not_and": ~value & other,
                "not_or": ~value | other,
            }[step]
        )
    return {"y": value}


def vector_slice_model(params: dict, row: Row) -> Row:
    text = ""
    for bit in params["bits"].split():
        if bit in "01":
            text += bit
        else:
            source = bit.lstrip("~")
            value = row[source[0]] >> int(source[1:]) & 1
            text += str(1 - value if bit[0] == "~" else value)
    return {"y": int(text, 2)}


def mux_packed_model(params: dict, row: Row) -> Row:
    count, width = params["num_words"], params["width"]
    words = [row["words"] >> width * place & (1 << width) - 1 for place in range(count)]
    if params["is_reversed"]:
        words.reverse()
    if row["sel"] >= count:
        return {"y": params["default"], "z": params["default"], "valid": 0}
    first = row["sel"] + params["offset"]
    return {"y": words[first % count], "z": words[(first + params["neighbour"]) % count], "valid": 1}


def saturating_model(params: dict, row: Row) -> Row:
    width = params["width"]
    a, b = (signed(row[n], width) if params["is_signed"] else row[n] for n in "ab")
    exact = {"a + b": a + b, "a - b": a - b, "b - a": b - a}[params["kind"]]
    kept = max(params["lowest"], min(params["highest"], exact))
    return {"y": kept % (1 << width), "clipped": int(kept != exact)}


def flags_model(params: dict, row: Row) -> Row:
    width = params["width"]
    a, b = (signed(row[name], width) for name in "ab")
    exact = {"a + b": a + b, "a - b": a - b, "b - a": b - a}[params["kind"]] + params["constant"]
    y = exact % (1 << width)
    value = {
        "zero": y == 0,
        "negative": y >> (width - 1),
        "overflow": signed(y, width) != exact,
        "odd": y & 1,
        "all_ones": y == (1 << width) - 1,
        "sign": exact < 0,
    }
    return {"y": y} | {n: int(value[f]) for n, f in zip("fgh", params["flags"].split(","), strict=False)}


def range_model(params: dict, row: Row) -> Row:
    place = (row["a"] - params["first"]) % (1 << params["width"])
    return {"y": int(place <= (params["last"] - params["first"]) % (1 << params["width"]))}


def fields_model(params: dict, row: Row) -> Row:
    widths = [int(text) for text in params["widths"].split(",")]
    keys: dict[str, list[int]] = {"a": [], "b": []}
    order = [int(text) for text in params["order"].split(",")]
    rules = params["rules"].split(",")
    for name, key in keys.items():
        for place in order:
            value = row[name] >> sum(widths[:place]) & (1 << widths[place]) - 1
            value = signed(value, widths[place]) if rules[place][0] == "s" else value
            key.append(value if rules[place][1] == "+" else -value)
    first = params["tie"] if keys["a"] == keys["b"] else int(keys["a"] < keys["b"])
    return {"first": first, "y": row["a" if first else "b"]}


def shifter_model(params: dict, row: Row) -> Row:
    width, full = params["width"], (1 << params["width"]) - 1
    mode = params["modes"].split(",")[row.get("mode", 0)]
    bits = f"{row['a']:0{width}b}"
    for _ in range(row["n"] + params["bias"]):
        bits = {
            "left": bits[1:] + "0",
            "left_ones": bits[1:] + "1",
            "right": "0" + bits[:-1],
            "right_ones": "1" + bits[:-1],
            "arithmetic": bits[0] + bits[:-1],
            "rotate_left": bits[1:] + bits[0],
            "rotate_right": bits[-1] + bits[:-1],
        }[mode]
    return {"y": int(bits, 2) ^ (full if params["is_inverted"] else 0)}


def funnel_model(params: dict, row: Row) -> Row:
    width, high = params["width"], params["high"]
    low = "b" if high == "a" else "a"
    bits, gone = f"{row[high]:0{width}b}{row[low]:0{width}b}", ""
    for _ in range(min(row["n"], params["limit"])):
        gone += bits[-1]
        bits = (bits[0] if params["is_arithmetic"] else "0") + bits[:-1]
    sticky = {"or": int("1" in gone), "xor": gone.count("1") % 2, "last": int(gone[-1:] == "1")}[params["sticky"]]
    halves = {"x": int(bits[:width], 2), "y": int(bits[width:], 2)}
    return halves | {"s": sticky, "limited": int(row["n"] > params["limit"])}


def count_model(params: dict, row: Row) -> Row:
    bits = [row["a"] >> place & 1 for place in range(params["width"]) if params["mask"] >> place & 1]
    return {"y": bits.count(params["value"]) + params["offset"]}


def decoder_model(params: dict, row: Row) -> Row:
    count = 1 << params["size"]
    k = (params["offset"] - row["a"] if params["is_down"] else params["offset"] + row["a"]) % count
    on = {"one": [k], "pair": [k, (k + 1) % count], "up_to": range(k + 1), "from": range(k, count)}[params["kind"]]
    is_enabled = params["enable"] == "none" or row["en"] == (params["enable"] == "high")
    value = sum(1 << bit for bit in on) if is_enabled else 0
    return {"y": value ^ ((1 << count) - 1 if params["is_low"] else 0)}


def map_model(params: dict, row: Row) -> Row:
    regions = [tuple(map(int, text.split("-"))) for text in params["regions"].split(",")]
    hit = next((k for k, (low, high) in enumerate(regions) if low <= row["addr"] <= high), None)
    hit = hit if row["valid"] else None
    is_refused = hit is not None and params["read_only"][hit] == "1" and row["write"]
    chosen = 0 if hit is None or is_refused else 1 << hit
    idle = 0 if params["active"] else (1 << len(regions)) - 1
    offset = {} if params["size"] < 10 else {"offset": 0 if hit is None else row["addr"] - regions[hit][0]}
    return {"sel": chosen ^ idle, "error": int(bool(row["valid"]) and not chosen)} | offset


def rotating_model(params: dict, row: Row) -> Row:
    width = params["width"]
    requests = row["a"] & ~row.get("mask", 0)
    start = (row["start"] + params["offset"]) % width
    for step in range(width):
        place = (start + step if params["is_up"] else start - step) % width
        if requests >> place & 1:
            return {"y": place, "found": 1}
    return {"y": params["idle"], "found": 0}


def two_winners_model(params: dict, row: Row) -> Row:
    places = [p for p in range(params["width"]) if (row["a"] >> p & 1) != params["is_low"]]
    reserved = [int(text) for text in params["reserved"].strip("[]").split(",") if text]
    pick, other = (max, min) if params["is_high_first"] else (min, max)
    if not places:
        return {"first": params["idle"], "second": params["idle"], "left": 0}
    first = pick(places)
    rest = [place for place in places if place != first]
    allowed = [place for place in rest if place not in reserved]
    second = (pick if params["second_rule"] == "next" else other)(allowed) if allowed else params["idle"]
    return {"first": first, "second": second, "left": len(rest if params["counts_reserved"] else allowed)}


def order_model(params: dict, row: Row) -> Row:
    sources = [int(text) for text in params["order"].split(",")]
    value = sum((row["a"] >> source & 1) << place for place, source in enumerate(sources))
    return {"y": value ^ params["mask"]}


def conversion_model(params: dict, row: Row) -> Row:
    size = 1 << params["width"]
    if params["is_encode"]:
        number = (row["a"] + params["constant"]) % size
        return {"y": next(code for code in range(size) if from_gray(code) == number)}
    return {"y": (from_gray(row["a"]) + params["constant"]) % size}


def alu_model(params: dict, row: Row) -> Row:
    width, a, b = params["width"], row["a"], row["b"]
    full, sa, sb = (1 << width) - 1, signed(a, width), signed(b, width)
    table = dict(entry.split(":") for entry in params["table"].split(","))
    name = table.get(str(row["op"]), params["default"])
    results = {
        "add": a + b, "sub": a - b, "rsub": b - a, "and": a & b, "or": a | b, "xor": a ^ b, "nand": ~(a & b),
        "nor": ~(a | b), "xnor": ~(a ^ b), "andn": a & ~b, "orn": a | ~b, "a": a, "b": b, "nota": ~a, "inc": a + 1,
        "dec": a - 1, "double": a * 2, "half": a // 2, "neg": -a, "asr": sa >> 1, "rol": a << 1 | a >> (width - 1),
        "ror": a >> 1 | a << (width - 1), "ltu": a < b, "lts": sa < sb, "eq": a == b, "maxu": max(a, b),
        "mins": min(sa, sb), "mul": a * b, "zero": 0, "ones": full,
    }  # fmt: skip
    y = int(results[name]) & full
    exact = {"add": (a + b, sa + sb), "sub": (a - b, sa - sb)}.get(name)
    flags = {
        "zero": y == 0,
        "negative": y >> (width - 1),
        "parity": y.bit_count() % 2,
        "equal": a == b,
        "carry": exact is not None and not 0 <= exact[0] <= full,
        "overflow": exact is not None and signed(y, width) != exact[1],
    }
    return {"y": y} | {name: int(flags[name]) for name in params["flags"].split(",") if name}


def to_bcd_model(params: dict, row: Row) -> Row:
    digits, number = params["num_digits"], row["a"] * params["factor"] + params["constant"]
    if number >= 10**digits:
        return {"overflow": 1, "bcd": (1 << 4 * digits) - 1 if params["invalid"] == "ones" else 0}
    return {"overflow": 0, "bcd": int(f"{number}", 16)}


def from_bcd_model(params: dict, row: Row) -> Row:
    text = f"{row['bcd']:x}"
    if not text.isdecimal():
        top = (10 ** params["num_digits"] - 1) * params["factor"] + params["constant"]
        return {"invalid": 1, "y": (1 << top.bit_length()) - 1 if params["invalid"] == "ones" else 0}
    return {"invalid": 0, "y": int(text) * params["factor"] + params["constant"]}


def bcd_sum_model(params: dict, row: Row) -> Row:
    digits = params["num_digits"]
    a, b = (
        int("".join(digit if digit.isdecimal() else str(params["worth"]) for digit in f"{row[n]:0{digits}x}"))
        for n in "ab"
    )
    is_difference = params["kind"] == "subtract" or row.get("sub", 0)
    total = (a - b if is_difference else a + b) + params["constant"]
    text = f"{total % 10**digits:0{digits}d}"
    coded = "".join(f"{int(digit) + 3 * params['is_excess']:x}" for digit in text)
    return {"y": int(coded, 16), "carry": int(total < 0 if is_difference else total >= 10**digits)}


def fixed_point_model(params: dict, row: Row) -> Row:
    width_a, width_b, width_y = map(int, params["widths"].split(","))
    width_c = width_y if params["addend"] == "c << drop" else width_a
    read = signed if params["is_signed"] else lambda value, _: value
    c = read(row.get("c", 0), width_c)
    exact = Fraction(read(row["a"], width_a) * read(row["b"], width_b))
    exact += {"": 0, "c": c, "minus": -c, "c << drop": c << params["drop"]}[params["addend"]]
    value = exact / (1 << params["drop"])
    rounded = {
        "floor": value.__floor__(),
        "half_up": (value + Fraction(1, 2)).__floor__(),
        "half_even": round(value),
        "ceiling": value.__ceil__(),
        "to_zero": value.__trunc__(),
    }[params["rounding"]]
    if not params["is_saturating"]:
        return {"y": rounded % (1 << width_y)}
    low, high = (-(1 << (width_y - 1)), (1 << (width_y - 1)) - 1) if params["is_signed"] else (0, (1 << width_y) - 1)
    kept = max(low, min(high, rounded))
    return {"y": kept % (1 << width_y), "clipped": int(kept != rounded)}


MODELS: list[tuple[str, int, dict[str, int | str], Model]] = [
    *(("gates", level, {}, gates_model) for level in (1, 2, 3, 4, 5)),
    *(("bitwise", level, {}, bitwise_model) for level in (1, 3, 5)),
    *(("vector_slice", level, {}, vector_slice_model) for level in (1, 2, 3, 4, 5)),
    ("mux", 5, {}, mux_packed_model),
    ("adder_subtractor", 3, {}, flags_model),
    ("adder_subtractor", 4, {"is_signed": 0}, saturating_model),
    ("adder_subtractor", 4, {"is_signed": 1}, saturating_model),
    ("comparator", 2, {}, range_model),
    ("comparator", 5, {}, fields_model),
    *(("shifter", level, {}, shifter_model) for level in (2, 3, 4)),
    ("shifter", 5, {}, funnel_model),
    ("popcount_parity", 2, {}, count_model),
    *(("decoder", level, {}, decoder_model) for level in (1, 2)),
    *(("decoder", level, {}, map_model) for level in (3, 4, 5)),
    ("encoder_priority", 4, {}, rotating_model),
    ("encoder_priority", 5, {}, two_winners_model),
    *(("gray_reversal", level, {}, order_model) for level in (1, 2)),
    ("gray_reversal", 3, {"width": 6}, conversion_model),
    *(("alu", level, {}, alu_model) for level in (2, 3, 4, 5)),
    ("bcd_convert", 4, {"style": "to_bcd"}, to_bcd_model),
    ("bcd_convert", 4, {"style": "from_bcd"}, from_bcd_model),
    ("bcd_convert", 5, {}, bcd_sum_model),
    *(("fixed_point", level, {}, fixed_point_model) for level in (2, 3, 4)),
    *(("fixed_point", 5, {"rounding": name}, fixed_point_model) for name in ("half_even", "to_zero", "ceiling")),
]


@pytest.mark.tool
@pytest.mark.parametrize(("name", "level", "wanted", "model"), MODELS)
def test_a_golden_agrees_with_a_model_of_its_parameters(name, level, wanted, model, tmp_path):
    draws = (FAMILIES[name].draw(random.Random(seed), level) for seed in itertools.count(100))
    for design in itertools.islice((d for d in draws if wanted.items() <= d.params.items()), 3):
        rows = random_rows(design, random.Random(1))
        for row, got in zip(rows, play(tmp_path, design, rows), strict=True):
            expected = model(design.params, row)
            assert {key: got[key] for key in expected} == expected, (design.params, row)


@pytest.mark.tool
def test_a_drawn_truth_table_is_what_the_golden_computes(tmp_path):
    design = find("truth_table", 1, num_inputs=3, tables="96")  # 1001_0110, row 7 first: the parity of three bits
    rows = [{"a": i >> 2, "b": i >> 1 & 1, "c": i & 1} for i in range(8)]
    assert [row["y"] for row in play(tmp_path, design, rows)] == [0, 1, 1, 0, 1, 0, 0, 1]
    assert "0 1 1 | 0" in design.descriptions[0]
    assert "one of 1, 2, 4, 7." in design.descriptions[1]
    assert "for y: 01101001" in design.descriptions[2]


@pytest.mark.tool
def test_a_seven_segment_seven_lights_a_b_and_c(tmp_path):
    design = find("bcd_convert", 3, is_low=0, invalid="dash", has_blank=0)
    order = design.params["order"]
    [seven, ten] = play(tmp_path, design, [{"d": 7}, {"d": 10}])
    assert seven["seg"] == sum(1 << order.index(segment) for segment in "abc")
    assert ten["seg"] == 1 << order.index("g")


@pytest.mark.tool
def test_gray_sums_wrap_around(tmp_path):
    design = find("gray_reversal", 5, width=4, kind="a_plus_b", constant=3, is_inverted=0)
    # 1101 is 9 and 0101 is 6 in Gray code; 9 + 6 + 3 = 18, 2 modulo 16, in Gray code 0011; 9 and 6 differ in parity.
    assert play(tmp_path, design, [{"a": 0b1101, "b": 0b0101}]) == [{"y": 0b0011, "equal_parity": 0}]


@pytest.mark.tool
def test_the_single_error_corrector_flips_the_bit_that_the_syndrome_names(tmp_path):
    design = find("popcount_parity", 5, width=4, odd=0)
    columns = [int(text) for text in design.params["columns"].strip("[]").split(",")]
    word = 0b1011
    check = columns[0] ^ columns[1] ^ columns[3]
    rows = [{"d": word, "p": check}] + [{"d": word ^ 1 << bit, "p": check} for bit in range(4)]
    got = play(tmp_path, design, [*rows, {"d": word, "p": check ^ 0b0100}])
    assert got[0] == {"q": word, "corrected": 0, "fatal": 0}
    assert got[1:5] == [{"q": word, "corrected": 1, "fatal": 0}] * 4
    assert got[5] == {"q": word, "corrected": 0, "fatal": 0}


@pytest.mark.tool
def test_a_waveform_shows_only_what_the_golden_does(tmp_path):
    design = find("waveform", 2, num_inputs=4)
    lines = design.descriptions[0].split("\n\n")[1].split("\n")
    samples = [[int(cell) for cell in line.split()[1:]] for line in lines[1:]]
    rows = [dict(zip("abcd", sample[:4], strict=True)) for sample in samples]
    assert [row["q"] for row in play(tmp_path, design, rows)] == [sample[4] for sample in samples]
    assert len({tuple(sample[:4]) for sample in samples}) == 16


def test_a_register_waveform_shows_every_row_of_its_table_once_or_more():
    for seed in range(30):
        design = FAMILIES["waveform"].draw(random.Random(seed), 5)
        table, state = design.params["table"], design.params["initial"]
        lines = design.descriptions[0].split("\n\n")[1].split("\n")[2:]
        shown = set()
        for line in lines:
            _, reset, *bits = (int(cell) for cell in line.split())
            assert (reset, bits[-1]) == (0, state)
            row = int("".join(map(str, bits)), 2)
            shown.add(row)
            state = table >> row & 1
        assert shown == set(range(16))


def test_inverting_an_inner_step_gives_no_second_spelling_of_a_bitwise_chain():
    """Over one bit a chain of two steps has 50 spellings and as many truth tables."""
    tables = {}
    for inner, last in itertools.product(("and", "or", "xor", "and_not", "or_not"), LAST_STEPS):
        params = {"width": 1, "steps": f"{inner},{last}"}
        rows = [dict(zip("abc", bits, strict=True)) for bits in itertools.product((0, 1), repeat=3)]
        tables[params["steps"]] = tuple(bitwise_model(params, row)["y"] for row in rows)
    assert len(tables) == len(set(tables.values())) == 50


def test_constants_have_their_width_and_base():
    assert literal(8, 255) == "8'd255"
    assert literal(4, -1, "b") == "4'b1111"
    assert literal(12, 10, "h") == "12'h00a"


def test_listings_read_as_english():
    assert listing(["a"]) == "a"
    assert listing(["a", "b"]) == "a and b"
    assert listing(["a", "b", "c"], "or") == "a, b or c"
