"""D flip-flops: every reset style and value, enables, synchronous sets with a priority, and tables of operations."""

import random

from hdl_bench.procedural.clocked import NUM_CLOCKINGS, Clocking, case, draw_clocking, if_else
from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, literal, module, outputs
from verifiers.types import Port

_WIDTHS = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 24, 32)
_TABLE_WIDTHS = (4, 5, 6, 7, 8, 10, 12, 16)
_ACTIONS = {  # name -> (Verilog of the next q, words); distinct functions from four bits on
    "hold": ("q", "q keeps its value"),
    "load": ("d", "q takes d"),
    "load_not": ("~d", "q takes the bitwise complement of d"),
    "clear": ("{zeros}", "q takes all zeros"),
    "set": ("{ones}", "q takes all ones"),
    "toggle": ("~q", "q takes the bitwise complement of its own value"),
    "and": ("q & d", "q takes the bitwise AND of its own value and d"),
    "or": ("q | d", "q takes the bitwise OR of its own value and d"),
    "xor": ("q ^ d", "q takes the bitwise XOR of its own value and d"),
    "left": ("{{q[{top}-1:0], q[{top}]}}", "q rotates left by one (its most significant bit moves to bit 0)"),
    "right": ("{{q[0], q[{top}:1]}}", "q rotates right by one (bit 0 moves to the most significant bit)"),
}


def draw(rng: random.Random, level: int) -> Design:
    return _DRAWS[level](rng)


def _draw_plain(rng: random.Random) -> Design:
    """q follows d."""
    clocking, width = draw_clocking(rng), rng.choice(_WIDTHS)
    value, data = _reset_value(rng, width), rng.choice(("d", "d", "~d"))
    words = "d" if data == "d" else "the bitwise complement of d"
    return _design(
        clocking,
        params={"width": width, "value": value, "data": data},
        body=f"q <= {data};",
        phrases=(
            f"At every other clock edge q is loaded with {words}.",
            f"Otherwise q takes {words}.",
            f"q is a register: each clock edge without reset copies {words} into it.",
        ),
    )


def _draw_enabled(rng: random.Random) -> Design:
    """q follows d when enabled; an enable of either polarity, either clock edge."""
    clocking, width = draw_clocking(rng, has_both_edges=True), rng.choice(_WIDTHS)
    value, data, active = _reset_value(rng, width), rng.choice(("d", "~d", "q ^ d")), rng.choice((1, 0))
    words = {"d": "d", "~d": "the bitwise complement of d", "q ^ d": "the bitwise XOR of its own value and d"}[data]
    return _design(
        clocking,
        params={"width": width, "value": value, "data": data, "enable": active},
        extra=inputs(en=1),
        body=if_else(("en" if active else "!en", f"q <= {data};")),
        phrases=(
            f"At every other clock edge, q is loaded with {words} if en is {active} and keeps its value if en is "
            f"{1 - active}.",
            f"Otherwise, with en = {active}, q takes {words}; with en = {1 - active} it holds.",
            f"The register listens only while its enable en is {'high' if active else 'low'}: such an edge gives q "
            f"{words}. Edges with the other value of en change nothing.",
        ),
    )


def _draw_set(rng: random.Random) -> Design:
    """An enable and a synchronous set to a constant, in either order of priority."""
    clocking, width = draw_clocking(rng, has_both_edges=True), rng.choice(_WIDTHS[1:])
    value, constant = _reset_value(rng, width), rng.randrange(1 << width)
    active, first = rng.choice((1, 0)), rng.choice(("set", "enable"))
    enabled, preset = ("en" if active else "!en"), f"q <= {literal(width, constant)};"
    body = if_else(("set", preset), (enabled, "q <= d;"))
    order = "set comes before en: with set = 1, q takes the constant whatever en is"
    terse = f"set = 1 loads {literal(width, constant)}; else en = {active} loads d; else q holds."
    if first == "enable":
        body = if_else((enabled, if_else(("set", preset), otherwise="q <= d;")))
        order = f"en comes before set: with en = {1 - active}, q holds whatever set is"
        terse = f"en = {1 - active} holds q; else set = 1 loads {literal(width, constant)}; else q loads d."
    return _design(
        clocking,
        params={"width": width, "value": value, "constant": constant, "enable": active, "first": first},
        extra=inputs(en=1, set=1),
        body=body,
        phrases=(
            f"Without reset, en is an active-{'high' if active else 'low'} enable and set is an active-high "
            f"synchronous set to {literal(width, constant)}; {order}. If q is neither set nor held, it takes d when "
            f"en is {active}.",
            f"Other clock edges: {terse}",
            f"q normally loads d at clock edges where en is {active} and keeps its value where en is {1 - active}. An "
            f"edge with set high puts {constant} (decimal) in q instead. Priority: {order}.",
        ),
        rare_high=("set",),
    )


def _draw_table(rng: random.Random, num_bits: int) -> Design:
    """An operation input picks what each clock edge does to q."""
    clocking, width = draw_clocking(rng, has_both_edges=True), rng.choice(_TABLE_WIDTHS)
    value = _reset_value(rng, width)
    actions = ["load"] + [rng.choice(sorted(_ACTIONS)) for _ in range((1 << num_bits) - 1)]
    rng.shuffle(actions)
    fill = {"zeros": literal(width, 0), "ones": literal(width, (1 << width) - 1), "top": width - 1}
    rows = []
    for code, action in enumerate(actions):
        verilog = _ACTIONS[action][0].format(**fill).replace(f"{width - 1}-1:0", f"{width - 2}:0")
        rows.append((literal(num_bits, code, "b"), f"q <= {verilog};"))
    words = [_ACTIONS[action][1] for action in actions]
    listing = "\n".join(f"  {code}: {text}" for code, text in enumerate(words))
    return _design(
        clocking,
        params={"width": width, "value": value, "actions": ",".join(actions)},
        extra=inputs(op=num_bits),
        body=case("op", rows),
        phrases=(
            f"At every other clock edge op selects the operation (all use q and d as they are before the edge):\n"
            f"{listing}",
            "Otherwise " + "; ".join(f"op = {code}: {text}" for code, text in enumerate(words)) + ".",
            "The register can do several things to its value, one each clock edge. "
            + " ".join(f"When op is {label}, {text}." for (label, _), text in zip(rows, words, strict=True)),
        ),
    )


_DRAWS = {
    1: _draw_plain,
    2: _draw_enabled,
    3: _draw_set,
    4: lambda rng: _draw_table(rng, 2),
    5: lambda rng: _draw_table(rng, 3),
}


def _reset_value(rng: random.Random, width: int) -> int:
    return rng.choice((0, (1 << width) - 1, rng.randrange(1 << width), rng.randrange(1 << width)))


def _design(
    clocking: Clocking,
    *,
    params: dict[str, int | str],
    body: str,
    phrases: tuple[str, str, str],
    extra: tuple[Port, ...] = (),
    rare_high: tuple[str, ...] = (),
) -> Design:
    width = params["width"]
    ports = clocking.ports + extra + inputs(d=width) + outputs(q=width)
    reset = literal(width, params["value"])
    return Design(
        params={**clocking.params, **params},
        ports=ports,
        descriptions=clocking.describe(f"q to {reset}", phrases),
        golden=module(ports, clocking.always(f"q <= {reset};", body), registers=("q",)),
        protocol=clocking.protocol(rare_high=rare_high),
    )


def _num_distinct() -> int:
    values = sum(1 << width for width in _WIDTHS)  # widths with their reset values
    num_plain = values * (NUM_CLOCKINGS // 2) * 2
    num_enabled = values * NUM_CLOCKINGS * 3 * 2
    num_tables = sum(1 << width for width in _TABLE_WIDTHS) * NUM_CLOCKINGS * len(_ACTIONS) ** 3
    return num_plain + num_enabled + num_tables


FAMILY = Family(
    name="flip_flop",
    summary="D flip-flops and registers with resets, enables, sets and operation tables",
    draw=draw,
    num_distinct=_num_distinct(),
)
