"""Families of arithmetic: goldens run in Icarus against models and values by hand.

A model here reads a design's parameters and computes with Python integers, apart from the code that wrote the Verilog.
"""

import operator

import pytest

from hdl_bench.procedural.verilog import literal

Row = dict[str, int]


def signed(value: int, width: int) -> int:
    return value - (1 << width) if value >> (width - 1) & 1 else value


def plain_sum_model(params: dict, row: Row) -> Row:
    a, b, constant = row["a"], row.get("b", 0), params["constant"]
    exact = {
        "a_plus_b": a + b,
        "a_minus_b": a - b,
        "b_minus_a": b - a,
        "a_plus_constant": a + constant,
        "constant_minus_a": constant - a,
        "a_b_constant": a + b + constant,
    }[params["kind"]]
    return {"y": exact % (1 << params["size"])}


def two_modes_model(params: dict, row: Row) -> Row:
    size, carry = 1 << params["width"], row.get("cin", 0)
    left, right = (row["a"], row["b"]) if params["left"] == "a" else (row["b"], row["a"])
    if row["mode"] == params["add_when"]:
        return {"y": (left + right + carry) % size, "c": int(left + right + carry >= size)}
    difference = left - right - carry
    return {"y": difference % size, "c": int((difference < 0) == params["borrow_polarity"])}


def four_modes_model(params: dict, row: Row) -> Row:
    a, b, full = row["a"], row["b"], (1 << params["width"]) - 1
    value = (
        full
        & {
            "add": a + b,
            "subtract": a - b,
            "reverse": b - a,
            "add_saturating": min(a + b, full),
            "subtract_floor": max(a - b, 0),
            "distance": abs(a - b),
            "average_down": (a + b) // 2,
            "average_up": (a + b + 1) // 2,
            "negate": -a,
            "carry_wrap": a + b + (a + b > full),
        }[params["modes"].split(",")[row["mode"]]]
    )
    return {"y": value ^ (full if params["is_inverted"] else 0), "zero": int(value == 0)}


RELATIONS = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}


def relations_model(params: dict, row: Row) -> Row:
    a, b = (signed(row[n], params["width"]) if params["is_signed"] else row[n] for n in "ab")
    relations = params["relations"].split()
    return {name: int(RELATIONS[text](a, b + params["offset"])) for name, text in zip("xyz", relations, strict=True)}


def extreme_model(params: dict, row: Row) -> Row:
    width, order = params["width"], params["order"]
    values = {name: signed(row[name], width) if params["is_signed"] else row[name] for name in order}
    best = (max if params["is_max"] else min)(values.values())
    winner = next(name for name in order if values[name] == best)
    codes = {entry[-1]: int(entry[0]) for entry in params["codes"].split(", ")}
    return {"y": row[winner], "which": codes[winner]}


def reduction_model(params: dict, row: Row) -> Row:
    bits = [row["a"] >> place & 1 for place in range(params["width"]) if params["mask"] >> place & 1]
    kind = params["kind"]
    plain = {"o": any(bits), "a": all(bits), "x": sum(bits) % 2 == 1}[kind.removeprefix("n")[0]]
    return {"y": int(plain != (kind in ("nor", "nand", "xnor")))}


def threshold_model(params: dict, row: Row) -> Row:
    count = (row["a"] & params["mask"]).bit_count()
    limits = [int(text) for text in params["limits"].strip("[]").split(",")]
    rules = {"at_least": operator.ge, "at_most": operator.le, "exactly": operator.eq, "not_exactly": operator.ne}
    rules["multiple"] = lambda number, limit: number % limit == 0
    tests = params["tests"].split(",")
    return {name: int(rules[test](count, limit)) for name, test, limit in zip("yz", tests, limits, strict=True)}


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


MODELS = [
    ("adder_subtractor", 1, {}, plain_sum_model),
    ("adder_subtractor", 2, {}, two_modes_model),
    ("adder_subtractor", 3, {}, flags_model),
    ("adder_subtractor", 5, {}, four_modes_model),
    ("comparator", 3, {}, relations_model),
    ("comparator", 4, {}, extreme_model),
    ("popcount_parity", 1, {}, reduction_model),
    ("popcount_parity", 3, {}, threshold_model),
    ("adder_subtractor", 4, {"is_signed": 0}, saturating_model),
    ("adder_subtractor", 4, {"is_signed": 1}, saturating_model),
    ("comparator", 2, {}, range_model),
    ("comparator", 5, {}, fields_model),
    *(("shifter", level, {}, shifter_model) for level in (2, 3, 4)),
    ("shifter", 5, {}, funnel_model),
    ("popcount_parity", 2, {}, count_model),
    *(("alu", level, {}, alu_model) for level in (2, 3, 4, 5)),
]


@pytest.mark.tool
@pytest.mark.parametrize(("name", "level", "wanted", "model"), MODELS)
def test_a_golden_agrees_with_a_model_of_its_parameters(name, level, wanted, model, check_model):
    check_model(name, level, wanted, model)


@pytest.mark.tool
def test_the_single_error_corrector_flips_the_bit_that_the_syndrome_names(play, find):
    design = find("popcount_parity", 5, {"width": 4, "odd": 0})
    columns = [int(text) for text in design.params["columns"].strip("[]").split(",")]
    word = 0b1011
    check = columns[0] ^ columns[1] ^ columns[3]
    rows = [{"d": word, "p": check}] + [{"d": word ^ 1 << bit, "p": check} for bit in range(4)]
    got = play(design, [*rows, {"d": word, "p": check ^ 0b0100}])
    assert got[0] == {"q": word, "corrected": 0, "fatal": 0}
    assert got[1:5] == [{"q": word, "corrected": 1, "fatal": 0}] * 4
    assert got[5] == {"q": word, "corrected": 0, "fatal": 0}


def test_constants_have_their_width_and_base():
    assert literal(8, 255) == "8'd255"
    assert literal(4, -1, "b") == "4'b1111"
    assert literal(12, 10, "h") == "12'h00a"
