"""Shift registers: directions, serial and parallel ports, loads, rotations and tables of modes."""

import random

from hdl_bench.procedural.clocked import NUM_CLOCKINGS, Clocking, case, draw_clocking, if_else
from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, literal, module, outputs
from verifiers.types import Port

_WIDTHS = (*range(3, 17), 20, 24, 32)
_MODE_WIDTHS = (5, 6, 7, 8, 9, 10, 12, 16)
_MODES = (
    *("hold", "load", "clear", "rotate_left", "rotate_right", "shift_left", "shift_right"),
    *("arithmetic_right", "zero_left", "zero_right"),
)


def draw(rng: random.Random, level: int) -> Design:
    return _DRAWS[level](rng)


def _shifted(direction: str, width: int, amount: int, fill: str) -> str:
    """q moved by `amount`, with `fill` (that many bits) in the emptied places."""
    if direction == "left":
        return f"{{q[{width - 1 - amount}:0], {fill}}}"
    return f"{{{fill}, q[{width - 1}:{amount}]}}"


def _words(direction: str, width: int) -> tuple[str, str]:
    """Where the new bit goes and what leaves, in words."""
    if direction == "left":
        return "left, towards the most significant bit", f"d enters at q[0] and q[{width - 1}] is lost"
    return "right, towards the least significant bit", f"d enters at q[{width - 1}] and q[0] is lost"


def _draw_serial_in(rng: random.Random) -> Design:
    clocking, width, direction = draw_clocking(rng), rng.choice(_WIDTHS), rng.choice(("left", "right"))
    data = rng.choice(("d", "~d"))
    way, ends = _words(direction, width)
    ends = ends if data == "d" else ends.replace("d enters", "the complement of d enters", 1)
    return _design(
        clocking,
        params={"width": width, "value": _reset_value(rng, width), "direction": direction, "data": data},
        extra=inputs(d=1),
        body=f"q <= {_shifted(direction, width, 1, data)};",
        phrases=(
            f"At every other clock edge q shifts by one place to the {way}: {ends}.",
            f"Otherwise q shifts {direction} by one; {ends}.",
            f"q is a {width}-bit shift register that moves one place {way} at each clock edge without reset. "
            f"On the way {ends}.",
        ),
    )


def _draw_enabled(rng: random.Random) -> Design:
    """A shift by one, or a rotation by any amount, under an enable."""
    clocking, width, direction = (
        draw_clocking(rng, has_both_edges=True),
        rng.choice(_WIDTHS),
        rng.choice(("left", "right")),
    )
    active, value = rng.choice((1, 0)), _reset_value(rng, width)
    params = {"width": width, "value": value, "direction": direction, "enable": active}
    extra, (way, ends) = inputs(en=1, d=1), _words(direction, width)
    kind, following, happens = "shift", _shifted(direction, width, 1, "d"), f"shifts one place to the {way}: {ends}"
    if rng.random() < 0.5:
        # Always to the left: a rotation to the right is one to the left by the other amount. A reset value of equal
        # bits would never change.
        kind, amount, value = "rotate", rng.randrange(1, width), rng.randrange(1, (1 << width) - 1)
        following = f"{{q[{width - 1 - amount}:0], q[{width - 1}:{width - amount}]}}"
        params = {"width": width, "value": value, "direction": "left", "enable": active, "amount": amount}
        extra = inputs(en=1)
        happens = (
            f"rotates to the left by {amount} place{'s' * (amount > 1)}: bit i moves to bit (i + {amount}) mod {width}"
        )
    return _design(
        clocking,
        params={"kind": kind, **params},
        extra=extra,
        body=if_else(("en" if active else "!en", f"q <= {following};")),
        phrases=(
            f"At every other clock edge with en = {active}, q {happens}. With en = {1 - active} q keeps its value.",
            f"Otherwise en = {active}: q {happens}; en = {1 - active}: q holds.",
            f"The enable en is active {'high' if active else 'low'}. An edge at which it is active moves the register: "
            f"q {happens}. While it is inactive nothing moves.",
        ),
    )


def _draw_loadable(rng: random.Random) -> Design:
    """A parallel load and an enable in either order of priority; shifts by `amount` with a chosen fill."""
    clocking, width, direction = (
        draw_clocking(rng, has_both_edges=True),
        rng.choice(_WIDTHS),
        rng.choice(("left", "right")),
    )
    amount, fill = rng.choice((1, 1, 2)), rng.choice(("serial", "zero", "one"))
    first, active = rng.choice(("load", "enable")), rng.choice((1, 0))
    filler = {"serial": "d", "zero": literal(amount, 0), "one": literal(amount, (1 << amount) - 1)}[fill]
    spoken = {"serial": "filled with d", "zero": "filled with 0", "one": "filled with 1"}[fill]
    if fill == "serial" and amount == 2:
        filler, spoken = "{2{d}}", "both filled with the same bit d"
    freed = f"q[{amount - 1}:0]" if direction == "left" else f"q[{width - 1}:{width - amount}]"
    freed = freed if amount > 1 else ("q[0]" if direction == "left" else f"q[{width - 1}]")
    enabled, shift = ("en" if active else "!en"), f"q <= {_shifted(direction, width, amount, filler)};"
    body = if_else(("load", "q <= data;"), (enabled, shift))
    order = f"load = 1 loads data into q, whatever en is; else en = {active} shifts; else q holds"
    if first == "enable":
        body = if_else((enabled, if_else(("load", "q <= data;"), otherwise=shift)))
        order = f"en = {1 - active} holds q, whatever load is; else load = 1 loads data into q; else q shifts"
    move = f"{direction} by {amount} place{'s' * (amount > 1)}, with {freed} {spoken}"
    return _design(
        clocking,
        params={"width": width, "value": _reset_value(rng, width), "direction": direction, "amount": amount}
        | {"fill": fill, "first": first, "enable": active},
        extra=inputs(load=1, en=1, data=width) + (inputs(d=1) if fill == "serial" else ()),
        body=body,
        phrases=(
            f"At every other clock edge, in this order of priority: {order}. A shift moves q to the {move}.",
            f"Otherwise: {order}. Shift: {move}.",
            f"The register can be loaded in parallel from data or shifted. A shift goes to the {move}. What an edge "
            f"does: {order}.",
        ),
        rare_high=("load",),
    )


def _draw_modes(rng: random.Random, num_bits: int) -> Design:
    """A mode input picks what each clock edge does; every mode of a table is drawn on its own."""
    clocking, width, amount = draw_clocking(rng, has_both_edges=True), rng.choice(_MODE_WIDTHS), 1
    if num_bits == 3:
        amount = rng.choice((1, 2, 3))
        amount = 1 if width < 2 * amount + 1 else amount
    modes = ["load"] + [rng.choice(_MODES) for _ in range((1 << num_bits) - 1)]
    rng.shuffle(modes)
    steps = [_mode(mode, width, amount) for mode in modes]
    rows = [(literal(num_bits, code, "b"), f"q <= {verilog};") for code, (verilog, _) in enumerate(steps)]
    words = [words for _, words in steps]
    serial = any(mode in ("shift_left", "shift_right") for mode in modes)
    params = {"width": width, "value": _reset_value(rng, width), "modes": ",".join(modes), "amount": amount}
    if all(mode in ("load", "hold", "clear") for mode in modes):
        params["amount"] = 1
    listing = "\n".join(f"  {code}: {text}" for code, text in enumerate(words))
    return _design(
        clocking,
        params=params,
        extra=inputs(mode=num_bits, data=width) + (inputs(d=1) if serial else ()),
        body=case("mode", rows),
        phrases=(
            f"At every other clock edge mode selects what happens:\n{listing}",
            "Otherwise " + "; ".join(f"mode = {code}: {text}" for code, text in enumerate(words)) + ".",
            "q is a universal shift register, and mode says what a clock edge does to it. "
            + " ".join(f"With mode = {label}, {text}." for (label, _), text in zip(rows, words, strict=True)),
        ),
    )


def _mode(mode: str, width: int, amount: int) -> tuple[str, str]:
    """The next q and the words of a mode."""
    top, zero = width - 1, literal(amount, 0)
    places = "one place" if amount == 1 else f"{amount} places"
    freed = "the freed bit is" if amount == 1 else f"the {amount} freed bits are"
    serial = "d" if amount == 1 else f"{{{amount}{{d}}}}"
    sign = f"q[{top}]" if amount == 1 else f"{{{amount}{{q[{top}]}}}}"
    low = "q[0]" if amount == 1 else f"q[{amount - 1}:0]"
    high = f"q[{top}]" if amount == 1 else f"q[{top}:{width - amount}]"
    left, right = f"q shifts left by {places}", f"q shifts right by {places}"
    return {
        "hold": ("q", "q keeps its value"),
        "load": ("data", "q is loaded with data"),
        "clear": (literal(width, 0), "q becomes all zeros"),
        "rotate_left": (_shifted("left", width, amount, high), f"q rotates left by {places}"),
        "rotate_right": (_shifted("right", width, amount, low), f"q rotates right by {places}"),
        "arithmetic_right": (
            _shifted("right", width, amount, sign),
            f"{right} and {freed} filled with the old q[{top}]",
        ),
        "shift_left": (_shifted("left", width, amount, serial), f"{left} and {freed} filled with d"),
        "shift_right": (_shifted("right", width, amount, serial), f"{right} and {freed} filled with d"),
        "zero_left": (_shifted("left", width, amount, zero), f"{left} and {freed} filled with 0"),
        "zero_right": (_shifted("right", width, amount, zero), f"{right} and {freed} filled with 0"),
    }[mode]


_DRAWS = {
    1: _draw_serial_in,
    2: _draw_enabled,
    3: _draw_loadable,
    4: lambda rng: _draw_modes(rng, 2),
    5: lambda rng: _draw_modes(rng, 3),
}


def _reset_value(rng: random.Random, width: int) -> int:
    return rng.choice((0, (1 << width) - 1, rng.randrange(1 << width), rng.randrange(1 << width)))


def _design(
    clocking: Clocking,
    *,
    params: dict[str, int | str],
    extra: tuple[Port, ...],
    body: str,
    phrases: tuple[str, str, str],
    rare_high: tuple[str, ...] = (),
) -> Design:
    width = params["width"]
    ports = clocking.ports + extra + outputs(q=width)
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
    num_serial_in = values * (NUM_CLOCKINGS // 2) * 2 * 2
    num_loadable = values * NUM_CLOCKINGS * 2 * 2 * 3 * 2 * 2
    num_modes = sum(1 << width for width in _MODE_WIDTHS) * NUM_CLOCKINGS * len(_MODES) ** 7
    return num_serial_in + num_loadable + num_modes


FAMILY = Family(
    name="shift_register",
    summary="shift registers with directions, rotations, loads and mode tables",
    draw=draw,
    num_distinct=_num_distinct(),
)
