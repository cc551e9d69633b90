"""Families of decimal and fixed-point numbers: goldens run in Icarus against models and values by hand."""

from fractions import Fraction

import pytest

Row = dict[str, int]


def signed(value: int, width: int) -> int:
    return value - (1 << width) if value >> (width - 1) & 1 else value


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


def digit_model(params: dict, row: Row) -> Row:
    digit, constant = row["d"], params["constant"]
    value = constant - digit if params["is_complement"] else constant + digit
    return {"y": value % 16 if digit <= 9 else params["invalid"]}


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


def product_model(params: dict, row: Row) -> Row:
    read = signed if params["is_signed"] else lambda value, _: value
    other = read(row["b"], params["width_b"]) if "b" in row else params["constant"]
    return {"y": read(row["a"], params["width"]) * other % (1 << params["width"] + params["width_b"])}


MODELS = [
    ("fixed_point", 1, {}, product_model),
    ("bcd_convert", 1, {}, digit_model),
    ("bcd_convert", 4, {"style": "to_bcd"}, to_bcd_model),
    ("bcd_convert", 4, {"style": "from_bcd"}, from_bcd_model),
    ("bcd_convert", 5, {}, bcd_sum_model),
    *(("fixed_point", level, {}, fixed_point_model) for level in (2, 3, 4)),
    *(("fixed_point", 5, {"rounding": name}, fixed_point_model) for name in ("half_even", "to_zero", "ceiling")),
]


@pytest.mark.tool
@pytest.mark.parametrize(("name", "level", "wanted", "model"), MODELS)
def test_a_golden_agrees_with_a_model_of_its_parameters(name, level, wanted, model, check_model):
    check_model(name, level, wanted, model)


@pytest.mark.tool
def test_a_seven_segment_seven_lights_a_b_and_c(play, find):
    design = find("bcd_convert", 3, {"is_low": 0, "invalid": "dash", "has_blank": 0})
    order = design.params["order"]
    [seven, ten] = play(design, [{"d": 7}, {"d": 10}])
    assert seven["seg"] == sum(1 << order.index(segment) for segment in "abc")
    assert ten["seg"] == 1 << order.index("g")
