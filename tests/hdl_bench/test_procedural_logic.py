"""Families of gates, wires and codes: goldens run in Icarus against models and values by hand.

A model here reads a design's parameters and computes with Python integers, apart from the code that wrote the Verilog.
"""

import functools
import itertools
import operator
import random

import pytest

from hdl_bench.procedural.families import FAMILIES
from hdl_bench.procedural.verilog import listing

Row = dict[str, int]
LAST_STEPS = ("and", "or", "xor", "and_not", "or_not", "nand", "nor", "xnor", "not_and", "not_or")


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


def mux_pair_model(params: dict, row: Row) -> Row:
    full, a, b = (1 << params["width"]) - 1, row["a"], row["b"]
    sources = {"a": a, "b": b, "not_a": a ^ full, "not_b": b ^ full, "zero": 0, "ones": full}
    sources |= {"and": a & b, "or": a | b, "xor": a ^ b}
    return {"y": sources[params["high" if row["sel"] else "low"]]}


def mux_table_model(params: dict, row: Row) -> Row:
    table = dict(entry.split(":") for entry in params["order"].split(","))
    name = table.get(str(row["sel"]))
    return {"y": row[name] if name else params["default"]}


def mux_one_hot_model(params: dict, row: Row) -> Row:
    bits = {int(bit): name for bit, name in (entry.split(":") for entry in params["bits"].split(","))}
    active = [bit for bit in bits if row["sel"] >> bit & 1]
    values = [row[bits[bit]] for bit in active]
    if not active or (len(active) > 1 and params["conflict"] == "default"):
        return {"y": params["default"]}
    ranks = [int(text) for text in params["order"].strip("[]").split(",")]
    if params["conflict"] == "priority":
        return {"y": row[bits[min(active, key=ranks.index)]]}
    return {"y": functools.reduce(operator.and_ if params["conflict"] == "and" else operator.or_, values)}


def linear_encoder_model(params: dict, row: Row) -> Row:
    places = [place for place in range(params["width"]) if (row["a"] >> place & 1) != params["is_low"]]
    winner = (max if params["is_high_first"] else min)(places, default=None)
    code = None if winner is None else params["width"] - 1 - winner if params["is_reversed"] else winner
    flags = {"none": {}, "valid": {"valid": int(bool(places))}, "none_set": {"none_set": int(not places)}}
    return {"y": params["idle"] if code is None else code} | flags[params["flag"]]


def ranked_encoder_model(params: dict, row: Row) -> Row:
    order, codes = ([int(t) for t in params[key].strip("[]").split(",")] for key in ("order", "codes"))
    for place, code in zip(order, codes, strict=True):
        if (row["a"] >> place & 1) != params["is_low"]:
            return {"y": code, "grant": 1 << place}
    return {"y": params["idle"], "grant": 0}


def mux_packed_model(params: dict, row: Row) -> Row:
    count, width = params["num_words"], params["width"]
    words = [row["words"] >> width * place & (1 << width) - 1 for place in range(count)]
    if params["is_reversed"]:
        words.reverse()
    if row["sel"] >= count:
        return {"y": params["default"], "z": params["default"], "valid": 0}
    first = row["sel"] + params["offset"]
    return {"y": words[first % count], "z": words[(first + params["neighbour"]) % count], "valid": 1}


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
    has_offset = len(regions) >= 5  # level 5
    offset = {"offset": 0 if hit is None else row["addr"] - regions[hit][0]} if has_offset else {}
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


MODELS = [
    *(("gates", level, {}, gates_model) for level in (1, 2, 3, 4, 5)),
    *(("bitwise", level, {}, bitwise_model) for level in (1, 3, 5)),
    *(("vector_slice", level, {}, vector_slice_model) for level in (1, 2, 3, 4, 5)),
    ("mux", 1, {}, mux_pair_model),
    *(("mux", level, {}, mux_table_model) for level in (2, 3)),
    *(("mux", 4, {"conflict": rule}, mux_one_hot_model) for rule in ("or", "and", "priority", "default")),
    ("mux", 5, {}, mux_packed_model),
    *(("encoder_priority", level, {}, linear_encoder_model) for level in (1, 2)),
    ("encoder_priority", 3, {}, ranked_encoder_model),
    *(("decoder", level, {}, decoder_model) for level in (1, 2)),
    *(("decoder", level, {}, map_model) for level in (3, 4, 5)),
    ("encoder_priority", 4, {}, rotating_model),
    ("encoder_priority", 5, {}, two_winners_model),
    *(("gray_reversal", level, {}, order_model) for level in (1, 2)),
    ("gray_reversal", 3, {"width": 6}, conversion_model),
]


@pytest.mark.tool
@pytest.mark.parametrize(("name", "level", "wanted", "model"), MODELS)
def test_a_golden_agrees_with_a_model_of_its_parameters(name, level, wanted, model, check_model):
    check_model(name, level, wanted, model)


@pytest.mark.tool
def test_a_drawn_truth_table_is_what_the_golden_computes(play, find):
    design = find("truth_table", 1, {"num_inputs": 3, "tables": "96"})  # row 7 first: the parity
    rows = [{"a": i >> 2, "b": i >> 1 & 1, "c": i & 1} for i in range(8)]
    assert [row["y"] for row in play(design, rows)] == [0, 1, 1, 0, 1, 0, 0, 1]
    assert "0 1 1 | 0" in design.descriptions[0]
    assert "one of 1, 2, 4, 7." in design.descriptions[1]
    assert "for y: 01101001" in design.descriptions[2]


@pytest.mark.tool
def test_gray_sums_wrap_around(play, find):
    design = find("gray_reversal", 5, {"width": 4, "kind": "a_plus_b", "constant": 3, "is_inverted": 0})
    # 1101 is 9 and 0101 is 6 in Gray code; 9 + 6 + 3 = 18, 2 modulo 16, in Gray code 0011; 9 and 6 differ in parity.
    assert play(design, [{"a": 0b1101, "b": 0b0101}]) == [{"y": 0b0011, "equal_parity": 0}]


@pytest.mark.tool
def test_a_waveform_shows_only_what_the_golden_does(play, find):
    design = find("waveform", 2, {"num_inputs": 4})
    lines = design.descriptions[0].split("\n\n")[1].split("\n")
    samples = [[int(cell) for cell in line.split()[1:]] for line in lines[1:]]
    rows = [dict(zip("abcd", sample[:4], strict=True)) for sample in samples]
    assert [row["q"] for row in play(design, rows)] == [sample[4] for sample in samples]
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


def test_listings_read_as_english():
    assert listing(["a"]) == "a"
    assert listing(["a", "b"]) == "a and b"
    assert listing(["a", "b", "c"], "or") == "a, b or c"
