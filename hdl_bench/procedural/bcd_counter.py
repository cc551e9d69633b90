"""Decimal counters and clocks: digits in BCD, any modulus, cascades of two fields, a twelve-hour style display."""

import random

from hdl_bench.procedural.clocked import NUM_CLOCKINGS, draw_clocking, if_else
from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, module, outputs


def draw(rng: random.Random, level: int) -> Design:
    return {2: _draw_digits, 3: _draw_two_way, 4: _draw_fields, 5: _draw_clock}[level](rng)


def _bcd(value: int) -> str:
    """A two-digit BCD constant: `_bcd(42)` is `8'h42`."""
    return f"8'h{value:02d}"


def _up(name: str, first: int, last: int) -> str:
    """Statements that move two BCD digits up through first..last and round again."""
    return if_else(
        (f"{name} == {_bcd(last)}", f"{name} <= {_bcd(first)};"),
        (f"{name}[3:0] == 9", f"{name} <= {{{name}[7:4] + 4'd1, 4'd0}};"),
        otherwise=f"{name} <= {name} + 1;",
    )


def _down(name: str, first: int, last: int) -> str:
    return if_else(
        (f"{name} == {_bcd(first)}", f"{name} <= {_bcd(last)};"),
        (f"{name}[3:0] == 0", f"{name} <= {{{name}[7:4] - 4'd1, 4'd9}};"),
        otherwise=f"{name} <= {name} - 1;",
    )


_CODE = "two BCD digits (tens in bits 7 to 4, ones in bits 3 to 0)"


def _draw_digits(rng: random.Random) -> Design:
    """Two digits up or down through a range that starts at 0 or above, with an enable."""
    clocking, direction, active = draw_clocking(rng), rng.choice(("up", "down")), rng.choice((0, 1))
    first = rng.choice((0, 0, 1, rng.randint(2, 20)))
    last = rng.randint(first + 11, first + 50)
    start = rng.choice((first if direction == "up" else last, rng.randint(first, last)))
    step = (_up if direction == "up" else _down)("q", first, last)
    begin, end = (first, last) if direction == "up" else (last, first)
    ports = clocking.ports + inputs(en=1) + outputs(q=8)
    return Design(
        params={**clocking.params, "direction": direction, "enable": active, "first": first, "last": last}
        | {"start": start},
        ports=ports,
        descriptions=clocking.describe(
            f"q to {start} in BCD ({_bcd(start)})",
            (
                f"q is a number of {_CODE}. At every other clock edge with en = {active} it counts {direction} by 1 in "
                f"decimal, from {end} back to {begin}; with en = {1 - active} it keeps its value. All numbers here are "
                f"decimal.",
                f"Otherwise en = {active}: count {direction} in BCD, {begin} to {end}, then {begin} again; en = "
                f"{1 - active}: hold. q is {_CODE}.",
                f"A display of {_CODE} goes {direction} one at a time, through the decimal numbers from {begin} to "
                f"{end}, and then begins again at {begin}. Only edges with en {'high' if active else 'low'} count.",
            ),
        ),
        golden=module(
            ports,
            clocking.always(f"q <= {_bcd(start)};", if_else(("en" if active else "!en", step))),
            registers=("q",),
        ),
        protocol=clocking.protocol(
            min_cycles=3 * (last - first), rare_low=("en",) if active else (), rare_high=() if active else ("en",)
        ),
    )


def _draw_two_way(rng: random.Random) -> Design:
    """Up and down requests, round again or stopping at the ends, and a carry for the next counter."""
    clocking, is_stopping = draw_clocking(rng, has_both_edges=True), rng.random() < 0.5
    last, both = rng.randint(12, 30), rng.choice(("up", "down", "hold"))
    up, down = _up("q", last if is_stopping else 0, last), _down("q", 0, 0 if is_stopping else last)
    tests = {"up": ("up", "down"), "down": ("up && !down", "down"), "hold": ("up && !down", "down && !up")}[both]
    ports = clocking.ports + inputs(up=1, down=1) + outputs(q=8, at_end=1)
    ends = (
        f"{last} and 0 are the ends: q stops there"
        if is_stopping
        else f"after {last} comes 0, and below 0 comes {last}"
    )
    together = {"up": "up wins", "down": "down wins", "hold": "q keeps its value"}[both]
    body = clocking.always("q <= 8'h00;", if_else((tests[0], up), (tests[1], down)))
    return Design(
        params={**clocking.params, "last": last, "stopping": int(is_stopping), "both": both},
        ports=ports,
        descriptions=clocking.describe(
            "q to 0",
            (
                f"q is a number of {_CODE}. At every other clock edge it goes up by 1 if up is 1 and down by 1 if down "
                f"is 1, in decimal; with neither it keeps its value, and with both, {together}. {ends[0].upper()}"
                f"{ends[1:]}. at_end is combinational and 1 exactly while q is 0 or {last}.",
                f"Otherwise BCD up/down: up = 1: +1; down = 1: -1; both: {together}; neither: hold. Range 0 to "
                f"{last}: {ends}. at_end = (q is 0 or {last}), not registered. q: {_CODE}.",
                f"An operator moves a decimal display of {_CODE} with two buttons, one step each clock edge: up adds "
                f"one, down takes one away, and if both are pressed {together}. Range 0 to {last}: {ends}. A lamp "
                f"at_end is lit, without delay, as long as the display shows 0 or {last}.",
            ),
        ),
        golden=module(ports, body + f"\nassign at_end = q == 8'h00 || q == {_bcd(last)};", registers=("q",)),
        # Where down wins, q would hardly ever come to a top that stops it.
        protocol=clocking.protocol(min_cycles=30 * last, rare_high=("down",) if is_stopping and both == "down" else ()),
    )


def _draw_fields(rng: random.Random) -> Design:
    """A low field that carries into a high one, and a flag at the last instant."""
    clocking, has_flag = draw_clocking(rng, has_both_edges=True), rng.random() < 0.5
    low, high, base = rng.randint(6, 14), rng.randint(5, 14), rng.choice((0, 1))
    active = rng.choice((0, 1))
    carry = if_else((f"low == {_bcd(low - 1)}", _up("high", base, high + base - 1)))
    body = clocking.always(
        f"low <= 8'h00;\nhigh <= {_bcd(base)};",
        if_else(("tick" if active else "!tick", _up("low", 0, low - 1) + "\n" + carry)),
    )
    ports = clocking.ports + inputs(tick=1) + outputs(high=8, low=8) + (outputs(last=1) if has_flag else ())
    flag = (
        f" last is combinational: 1 exactly while high is {high + base - 1} and low is {low - 1}." if has_flag else ""
    )
    top = high + base - 1
    if has_flag:
        body += f"\nassign last = high == {_bcd(top)} && low == {_bcd(low - 1)};"
    return Design(
        params={**clocking.params, "low": low, "high": high, "base": base, "tick": active, "flag": int(has_flag)},
        ports=ports,
        descriptions=clocking.describe(
            f"low to 0 and high to {base}",
            (
                f"high and low are numbers of {_CODE} each. At every other clock edge with tick = {active} low counts "
                f"up by 1 in decimal from 0 to {low - 1} and then to 0 again; when it goes from {low - 1} to 0, high "
                f"counts up by 1 from {base} to {top}, after which comes {base}. With tick = {1 - active} nothing "
                f"changes.{flag}",
                f"Otherwise tick = {active}: low = (low + 1) mod {low}; on its wrap high steps through {base}..{top} "
                f"cyclically; tick = {1 - active}: hold. Each output is {_CODE}.{flag}",
                f"It is a clock with two decimal displays, each of {_CODE}: low shows 0 to {low - 1}, high shows "
                f"{base} to {top}. It advances at edges with tick {'high' if active else 'low'} only. Every time low "
                f"starts over at 0, high moves on by one, and from {top} it returns to {base}.{flag}",
            ),
        ),
        golden=module(ports, body, registers=("high", "low")),
        protocol=clocking.protocol(
            min_cycles=3 * low * high, rare_low=("tick",) if active else (), rare_high=() if active else ("tick",)
        ),
    )


def _draw_clock(rng: random.Random) -> Design:
    """Hours that run 12, 1, 2 .. 11 (or another top), a half-day bit and minutes, with buttons to set them."""
    clocking, top, low = draw_clocking(rng, has_both_edges=True), rng.randint(5, 16), rng.randint(4, 12)
    flips_at = rng.choice(("top", "one"))
    holds = rng.random() < 0.5
    hour = if_else(
        (f"hour == {_bcd(top)}", "hour <= 8'h01;"),
        ("hour[3:0] == 9", "hour <= {hour[7:4] + 4'd1, 4'd0};"),
        otherwise="hour <= hour + 1;",
    )
    flip = f"hour == {_bcd(top - 1 if flips_at == 'top' else top)}"
    carry = f"{hour}\n" + if_else((flip, "pm <= !pm;"))
    tick = _up("minute", 0, low - 1) + "\n" + if_else((f"minute == {_bcd(low - 1)}", carry))
    body = if_else(("set", hour if holds else carry), ("tick", tick))
    ports = clocking.ports + inputs(tick=1, set=1) + outputs(hour=8, minute=8, pm=1)
    change = f"from {top - 1} to {top}" if flips_at == "top" else f"from {top} to 1"
    setting = "without any change of pm" if holds else f"and pm inverts here too when hour goes {change}"
    return Design(
        params={**clocking.params, "top": top, "low": low, "flips_at": flips_at, "set_holds_pm": int(holds)},
        ports=ports,
        descriptions=clocking.describe(
            f"hour to {top}, minute to 0 and pm to 0",
            (
                f"hour and minute are numbers of {_CODE} each. At every other clock edge: if set is 1, hour advances "
                f"by one and minute does not change (whatever tick is), {setting}; else, if tick is 1, minute advances "
                f"by one. minute counts 0 to {low - 1} and then 0; when it goes from {low - 1} to 0 by a tick, hour "
                f"advances by one. hour counts 1 to {top} in decimal, then 1. When such a carry takes hour {change}, "
                f"pm inverts at the same edge.",
                f"Otherwise set: hour + 1, minute holds, {setting}; else tick: minute + 1 (0..{low - 1}), on its wrap "
                f"hour + 1 (1..{top}, then 1) and pm inverts if hour goes {change}; else hold. Decimal; hour and "
                f"minute are {_CODE}.",
                f"A wall clock of a strange land has {low} minutes an hour, shown as 0 to {low - 1}, and hours from 1 "
                f"to {top}, in decimal displays of {_CODE}. A clock edge with tick high is a minute. At the end of an "
                f"hour minute returns to 0 and hour moves on ({top} is followed by 1); whenever that changes hour "
                f"{change}, pm inverts. An edge with set high is no minute, even with tick: it only moves hour on by "
                f"one, {setting}.",
            ),
        ),
        golden=module(
            ports,
            clocking.always(f"hour <= {_bcd(top)};\nminute <= 8'h00;\npm <= 0;", body),
            registers=("hour", "minute", "pm"),
        ),
        protocol=clocking.protocol(min_cycles=3 * top * low, rare_high=("set",), rare_low=("tick",)),
    )


def _num_distinct() -> int:
    num_digits = (NUM_CLOCKINGS // 2) * 2 * 2 * 40 * 2 * 12
    num_two_way = NUM_CLOCKINGS * 19 * 2 * 3
    num_fields = NUM_CLOCKINGS * 9 * 10 * 2 * 2 * 2
    num_clocks = NUM_CLOCKINGS * 12 * 9 * 2 * 2
    return num_digits + num_two_way + num_fields + num_clocks


FAMILY = Family(
    name="bcd_counter",
    summary="decimal counters, cascades of digits, clocks",
    draw=draw,
    num_distinct=_num_distinct(),
    levels=(2, 3, 4, 5),
)
