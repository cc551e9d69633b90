"""Counters: up and down, steps, ranges, enables, loads, wrap-around or saturation at limits."""

import random

from hdl_bench.procedural.clocked import NUM_CLOCKINGS, Clocking, draw_clocking, if_else
from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, literal, module, outputs
from verifiers.types import Protocol

_WIDTHS = (2, 3, 4, 5, 6, 7, 8, 10, 12, 16)
_LIMIT_WIDTHS = (4, 5, 6, 7, 8)


def draw(rng: random.Random, level: int) -> Design:
    return {1: _draw_plain, 2: _draw_stepping, 3: _draw_range, 4: _draw_loadable, 5: _draw_two_way}[level](rng)


def _draw_plain(rng: random.Random) -> Design:
    """Up or down by one, modulo the power of two."""
    clocking, width, direction = draw_clocking(rng), rng.choice(_WIDTHS), rng.choice(("up", "down"))
    value = _reset_value(rng, width)
    top, sign = (1 << width) - 1, "+" if direction == "up" else "-"
    verb = "increments" if direction == "up" else "decrements"
    ends = f"{top} to 0" if direction == "up" else f"0 to {top}"
    ports = clocking.ports + outputs(q=width)
    reset = literal(width, value)
    return Design(
        params={**clocking.params, "width": width, "value": value, "direction": direction},
        ports=ports,
        descriptions=clocking.describe(
            f"q to {reset}",
            (
                f"At every other clock edge q {verb} by 1, wrapping from {ends}.",
                f"Otherwise q = q {sign} 1 (modulo {top + 1}).",
                f"It is a {width}-bit counter that counts {direction} by one at each clock edge without reset and goes "
                f"from {ends}.",
            ),
        ),
        golden=module(ports, clocking.always(f"q <= {reset};", f"q <= q {sign} 1;"), registers=("q",)),
        protocol=clocking.protocol(),
    )


def _draw_stepping(rng: random.Random) -> Design:
    """Steps of more than one (modulo the power of two) under an enable."""
    clocking, width = draw_clocking(rng, has_both_edges=True), rng.choice(_WIDTHS)
    # Down by s is up by 2**width - s, so a step is below half the range (at it, up and down are one).
    step, direction = rng.randint(1, min((1 << (width - 1)) - 1, 20)), rng.choice(("up", "down"))
    value, active = _reset_value(rng, width), rng.choice((1, 0))
    sign, verb = ("+", "increases") if direction == "up" else ("-", "decreases")
    ports = clocking.ports + inputs(en=1) + outputs(q=width)
    reset = literal(width, value)
    body = if_else(("en" if active else "!en", f"q <= q {sign} {step};"))
    return Design(
        params={**clocking.params, "width": width, "value": value, "direction": direction, "step": step}
        | {"enable": active},
        ports=ports,
        descriptions=clocking.describe(
            f"q to {reset}",
            (
                f"At every other clock edge with en = {active}, q {verb} by {step}, modulo {1 << width}; with en = "
                f"{1 - active} it keeps its value.",
                f"Otherwise en = {active}: q = q {sign} {step} (mod 2^{width}); en = {1 - active}: hold.",
                f"The counter counts {direction} in steps of {step}, and simply overflows {width}-bit arithmetic. It "
                f"counts only at edges where its active-{'high' if active else 'low'} enable en is active.",
            ),
        ),
        golden=module(ports, clocking.always(f"q <= {reset};", body), registers=("q",)),
        protocol=clocking.protocol(),
    )


def _draw_range(rng: random.Random) -> Design:
    """By one through low..high, round again, with an enable and a flag at the end of the range."""
    clocking, direction = draw_clocking(rng, has_both_edges=True), rng.choice(("up", "down"))
    low, width, active = rng.choice((0, 0, rng.randint(1, 9))), rng.choice(_LIMIT_WIDTHS), rng.choice((1, 0))
    high = rng.randint(low + 2, min((1 << width) - 2, low + 60))
    first, last = (low, high) if direction == "up" else (high, low)
    sign, is_gated = ("+" if direction == "up" else "-"), rng.random() < 0.5
    enabled = "en" if active else "!en"
    start, end = literal(width, first), literal(width, last)
    ports = clocking.ports + inputs(en=1) + outputs(q=width, last=1)
    flag = f"q == {end} && {enabled}" if is_gated else f"q == {end}"
    step = if_else((f"q == {end}", f"q <= {start};"), otherwise=f"q <= q {sign} 1;")
    spoken = f"q is {last} and en is {active}" if is_gated else f"q is {last}"
    body = clocking.always(f"q <= {start};", if_else((enabled, step))) + f"\nassign last = {flag};"
    return Design(
        params={**clocking.params, "low": low, "high": high, "direction": direction, "width": width}
        | {"enable": active, "gated": int(is_gated)},
        ports=ports,
        descriptions=clocking.describe(
            f"q to {first}",
            (
                f"At every other clock edge with en = {active}, q counts {direction} by 1 through the range {low} to "
                f"{high}, with {first} following {last}; with en = {1 - active} it keeps its value. The combinational "
                f"output last is 1 exactly when {spoken}.",
                f"Otherwise en = {active}: q = (q == {last}) ? {first} : q {sign} 1; en = {1 - active}: hold. last = "
                f"({spoken}), not registered.",
                f"The counter goes round from {first} {direction} to {last} and starts over, one step at each edge at "
                f"which en is {'high' if active else 'low'}; the other edges leave it as it is. Without waiting for a "
                f"clock edge, last says whether {spoken}.",
            ),
        ),
        golden=module(ports, body, registers=("q",)),
        protocol=_protocol(clocking, active, 3 * (high - low)),
    )


def _draw_loadable(rng: random.Random) -> Design:
    """Up and down by an input, a limit to wrap or stop at, and a load with a priority."""
    clocking, width = draw_clocking(rng, has_both_edges=True), rng.choice(_LIMIT_WIDTHS)
    high = rng.randint(4, min((1 << width) - 2, 60))
    is_saturating, first, up_level = rng.random() < 0.5, rng.choice(("load", "enable")), rng.choice((1, 0))
    top, zero = literal(width, high), literal(width, 0)
    over, under = (top, zero) if is_saturating else (zero, top)
    count = if_else(
        ("dir" if up_level else "!dir", if_else((f"q >= {top}", f"q <= {over};"), otherwise="q <= q + 1;")),
        otherwise=if_else((f"q == {zero}", f"q <= {under};"), otherwise="q <= q - 1;"),
    )
    body = if_else(("load", "q <= d;"), ("en", count))
    order = "load = 1 loads d, whatever en is; else en = 1 counts; else q holds"
    if first == "enable":
        body = if_else(("en", if_else(("load", "q <= d;"), otherwise=count)))
        order = "en = 0 holds q, whatever load is; else load = 1 loads d; else q counts"
    ports = clocking.ports + inputs(en=1, load=1, dir=1, d=width) + outputs(q=width)
    up = f"a q of {high} or more goes to {high if is_saturating else 0}, any other to q + 1"
    down = f"a q of 0 {'stays 0' if is_saturating else f'goes to {high}'}, any other goes to q - 1"
    return Design(
        params={**clocking.params, "width": width, "high": high, "saturating": int(is_saturating), "first": first}
        | {"up": up_level},
        ports=ports,
        descriptions=clocking.describe(
            "q to 0",
            (
                f"At every other clock edge, in this order of priority: {order}. With dir = {up_level} the count goes "
                f"up: {up}. With dir = {1 - up_level} it goes down: {down}. d is loaded unchanged even if it is above "
                f"{high}.",
                f"Otherwise: {order}. Count: dir = {up_level}: {up}; dir = {1 - up_level}: {down}. A loaded d may "
                f"exceed {high}.",
                f"It is an up/down counter for 0 to {high} that can also be loaded with any d, larger ones included. "
                f"An edge does one thing: {order}. Counting up is what dir = {up_level} asks for: {up}. The other "
                f"value of dir counts down: {down}.",
            ),
        ),
        golden=module(ports, clocking.always(f"q <= {zero};", body), registers=("q",)),
        protocol=clocking.protocol(min_cycles=4 * high, rare_high=("load",), rare_low=("en",)),
    )


def _draw_two_way(rng: random.Random) -> Design:
    """Two requests with steps of their own inside low..high, and rules for overshoot and for both at once."""
    clocking, width = draw_clocking(rng, has_both_edges=True), rng.choice(_LIMIT_WIDTHS)
    space = (1 << width) - 1
    low = rng.randint(1, space // 4)
    high = rng.randint(low + 8, min(low + 40, space - 1))
    up, down = rng.randint(1, 4), rng.randint(1, 4)
    start, both = rng.randint(low, high), rng.choice(("up", "down", "hold"))
    # With steps of 1 nothing lies between a limit and what passes it: stop and refuse would be one behaviour.
    overshoot = rng.choice(("stop", "wrap") if up == down == 1 else ("stop", "wrap", "refuse"))
    over, under = {"stop": (high, low), "wrap": (low, high), "refuse": (None, None)}[overshoot]
    fits_up, fits_down = f"q <= {literal(width, high - up)}", f"q >= {literal(width, low + down)}"
    increase = if_else((fits_up, f"q <= q + {up};"), otherwise="" if over is None else f"q <= {literal(width, over)};")
    decrease = if_else(
        (fits_down, f"q <= q - {down};"), otherwise="" if under is None else f"q <= {literal(width, under)};"
    )
    tests = {"up": ("inc", "dec"), "down": ("inc && !dec", "dec"), "hold": ("inc && !dec", "dec && !inc")}[both]
    body = (
        clocking.always(f"q <= {literal(width, start)};", if_else((tests[0], increase), (tests[1], decrease)))
        + f"\nassign full = q == {literal(width, high)};\nassign empty = q == {literal(width, low)};"
    )
    passed = {
        "stop": f"an addition that would pass {high} gives {high}, and a subtraction that would pass {low} gives {low}",
        "wrap": f"an addition that would pass {high} gives {low}, and a subtraction that would pass {low} gives {high}",
        "refuse": f"an addition that would pass {high} or a subtraction that would pass {low} is not done at all",
    }[overshoot]
    together = {"up": "only inc counts", "down": "only dec counts", "hold": "q keeps its value"}[both]
    ports = clocking.ports + inputs(inc=1, dec=1) + outputs(q=width, full=1, empty=1)
    return Design(
        params={**clocking.params, "width": width, "low": low, "high": high, "up": up, "down": down, "start": start}
        | {"both": both, "overshoot": overshoot},
        ports=ports,
        descriptions=clocking.describe(
            f"q to {start}",
            (
                f"q always lies between {low} and {high}. At every other clock edge inc = 1 adds {up} to q and dec = 1 "
                f"subtracts {down}; with neither, q keeps its value, and with both, {together}. Limits: {passed}; "
                f"reaching a limit exactly is allowed. full (q is {high}) and empty (q is {low}) are combinational.",
                f"Otherwise inc: q += {up}; dec: q -= {down}; both: {together}; neither: hold. Range {low}..{high}: "
                f"{passed}. Combinational: full = (q == {high}), empty = (q == {low}).",
                f"It keeps a level from {low} to {high}. A clock edge with inc high raises it by {up}, one with dec "
                f"high lowers it by {down}, and if both are high {together}. The level never leaves its range: "
                f"{passed}. Two outputs follow q directly: full tells that it is {high}, empty that it is {low}.",
            ),
        ),
        golden=module(ports, body, registers=("q",)),
        protocol=clocking.protocol(min_cycles=8 * (high - low)),
    )


def _reset_value(rng: random.Random, width: int) -> int:
    return rng.choice((0, 0, (1 << width) - 1, rng.randrange(1 << width)))


def _protocol(clocking: Clocking, active: int, min_cycles: int) -> Protocol:
    """A protocol whose enable is mostly on, so that long counts come to their end."""
    rare = {"rare_low" if active else "rare_high": ("en",)}
    return clocking.protocol(
        min_cycles=min_cycles, rare_high=rare.get("rare_high", ()), rare_low=rare.get("rare_low", ())
    )


def _num_distinct() -> int:
    values = sum(1 << width for width in _WIDTHS)  # widths with their reset values
    num_plain = values * (NUM_CLOCKINGS // 2) * 2
    num_stepping = sum((1 << w) * min((1 << (w - 1)) - 1, 20) for w in _WIDTHS) * NUM_CLOCKINGS * 2 * 2
    num_range = sum(min((1 << w) - 2, 60) - 1 for w in _LIMIT_WIDTHS) * NUM_CLOCKINGS * 2 * 2 * 2
    num_loadable = sum(min((1 << w) - 2, 60) - 3 for w in _LIMIT_WIDTHS) * NUM_CLOCKINGS * 2 * 2 * 2
    return num_plain + num_stepping + num_range + num_loadable


FAMILY = Family(
    name="counter",
    summary="up, down, modulo, saturating and loadable counters",
    draw=draw,
    num_distinct=_num_distinct(),
)
