"""Clock dividers and pulse-width modulators: any ratio and duty, enables, duty inputs, updates at period ends."""

import random

from hdl_bench.procedural.clocked import NUM_CLOCKINGS, draw_clocking, if_else
from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, module, outputs


def draw(rng: random.Random, level: int) -> Design:
    return {2: _draw_toggle, 3: _draw_pulse, 4: _draw_pwm, 5: _draw_buffered}[level](rng)


def _register(name: str, top: int) -> str:
    """A register that can hold 0 to `top`."""
    bits = top.bit_length()
    return f"reg [{bits - 1}:0] {name};" if bits > 1 else f"reg {name};"


def _round(name: str, period: int) -> str:
    return f"{name} <= {name} == {period - 1} ? 0 : {name} + 1;"


def _draw_toggle(rng: random.Random) -> Design:
    """An output that toggles every so many clock edges."""
    clocking, half, start = draw_clocking(rng), rng.randint(2, 60), rng.choice((0, 1))
    ports = clocking.ports + outputs(q=1)
    step = if_else((f"count == {half - 1}", "count <= 0;\nq <= !q;"), otherwise="count <= count + 1;")
    return Design(
        params={**clocking.params, "half": half, "start": start},
        ports=ports,
        descriptions=clocking.describe(
            f"q to {start} and restarts the division",
            (
                f"Divide the clock by {2 * half}: q inverts at every {half}th clock edge without reset, the first time "
                f"at the {half}th edge after reset.",
                f"Otherwise q toggles once every {half} clock edges; after reset, edges 1 to {half - 1} leave it, edge "
                f"{half} toggles it, and so on.",
                f"q is a slow square wave, {half} clock cycles low and {half} high. It starts a full phase of {half} "
                f"cycles with the value {start} when the reset ends, so that the {half}th clock edge after it is the "
                "first to invert q.",
            ),
        ),
        golden=module(
            ports,
            _register("count", half - 1) + "\n" + clocking.always(f"count <= 0;\nq <= {start};", step),
            registers=("q",),
        ),
        protocol=clocking.protocol(min_cycles=4 * half),
    )


def _draw_pulse(rng: random.Random) -> Design:
    """A pulse of any length at any place of a period, with an enable that freezes it."""
    clocking, period, active = draw_clocking(rng, has_both_edges=True), rng.randint(4, 40), rng.choice((0, 1))
    first = rng.randrange(period - 1)
    last = rng.randint(first + 1 if first == 0 else first, period - 2 if first == 0 else period - 1)
    level = rng.choice((0, 1))
    test = f"count == {first}" if first == last else f"count >= {first} && count <= {last}"
    ports = clocking.ports + inputs(en=1) + outputs(q=1)
    body = "\n".join(
        (
            _register("count", period - 1),
            clocking.always("count <= 0;", if_else(("en" if active else "!en", _round("count", period)))),
            f"assign q = {test};" if level else f"assign q = !({test});",
        )
    )
    return Design(
        params={**clocking.params, "period": period, "first": first, "last": last, "enable": active, "level": level},
        ports=ports,
        descriptions=clocking.describe(
            "an internal counter to 0",
            (
                f"At every other clock edge with en = {active} the counter counts up by 1 from 0 to {period - 1} and "
                f"then to 0 again; with en = {1 - active} it keeps its value. q is combinational: {level} while the "
                f"counter is {first} to {last} (both included), and {1 - level} otherwise.",
                f"Otherwise en = {active}: counter = (counter + 1) mod {period}; else hold. q = {level} iff {first} <= "
                f"counter <= {last}; not registered.",
                f"q repeats a pattern of {period} steps, numbered from 0, of which steps {first} to {last} (included) "
                f"show {level} and all others {1 - level}. A reset puts it at step 0, and each clock edge with en "
                f"{'high' if active else 'low'} moves it one step on. Edges with the other value of en do not.",
            ),
        ),
        golden=module(ports, body),
        protocol=clocking.protocol(
            min_cycles=4 * period, rare_low=("en",) if active else (), rare_high=() if active else ("en",)
        ),
    )


def _draw_pwm(rng: random.Random) -> Design:
    """A duty input compared with a counter; up, or up and down (centre-aligned); registered or not."""
    clocking, bits = draw_clocking(rng, has_both_edges=True), rng.choice((3, 4, 5))
    top = rng.randint(1 << (bits - 1), (1 << bits) - 1)
    is_centred, is_registered, level = rng.random() < 0.5, rng.random() < 0.5, rng.choice((0, 1))
    compare = "count < duty" if level else "count >= duty"
    ports = clocking.ports + inputs(duty=bits) + outputs(q=1)
    lines = [_register("count", top)]
    resets, step = "count <= 0;", _round("count", top + 1)
    sequence = f"0, 1, ..., {top} and then 0 again"
    if is_centred:
        lines.append("reg down;")
        resets += "\ndown <= 0;"
        step = if_else(
            ("down", if_else(("count == 1", "down <= 0;")) + "\ncount <= count - 1;"),
            otherwise=if_else(
                (f"count == {top}", f"down <= {int(top != 1)};\ncount <= count - 1;"), otherwise="count <= count + 1;"
            ),
        )
        sequence = f"0, 1, ..., {top}, then {top - 1}, {top - 2}, ..., 1, then 0, 1 and so on"
    effect = "the internal counter to 0"
    if is_registered:
        resets, step, effect = resets + "\nq <= 0;", f"q <= {compare};\n{step}", "q and the internal counter to 0"
    lines.append(clocking.always(resets, step))
    timing = f"q is combinational: {level} while"
    if is_registered:
        timing = f"q is a register: at each of these edges it becomes {level} if, before the edge,"
    else:
        lines.append(f"assign q = {compare};")
    return Design(
        params={**clocking.params, "bits": bits, "top": top, "centred": int(is_centred), "level": level}
        | {"registered": int(is_registered)},
        ports=ports,
        descriptions=clocking.describe(
            effect,
            (
                f"At every other clock edge the counter moves on by one in the sequence {sequence}. {timing} the "
                f"counter is less than duty (unsigned), and {1 - level} otherwise.",
                f"Otherwise counter: {sequence}, one value each clock edge. {timing} counter < duty, else {1 - level}.",
                f"The module is a pulse-width modulator. Its counter takes the values {sequence}, a new one at each "
                f"clock edge. duty, an unsigned number, may change at any time: {timing} the counter is below duty, "
                f"and {1 - level} if it is not.",
            ),
        ),
        golden=module(ports, "\n".join(lines), registers=("q",) if is_registered else ()),
        protocol=clocking.protocol(min_cycles=4 * top),
    )


def _draw_buffered(rng: random.Random) -> Design:
    """Period and duty are taken over at the end of a period only; a stop acts at once or at the end of the period."""
    clocking, bits = draw_clocking(rng, has_both_edges=True), rng.choice((3, 4))
    start = rng.randrange(1, 1 << bits)
    duty = rng.randint(0, min(start + 1, (1 << bits) - 1))  # more than the whole first period is one behaviour
    stop, level, is_shown = rng.choice(("now", "end")), rng.choice((0, 1)), rng.random() < 0.5
    vector = f"reg [{bits - 1}:0]"
    begin = "count <= 0;\ntop <= period;\nlimit <= duty;"
    halt = "running <= 0;"
    if stop == "now":
        run = if_else(("count == top", begin), otherwise="count <= count + 1;")
        step = if_else(("stop", halt), ("!running", f"running <= 1;\n{begin}"), otherwise=run)
        stopping = "any clock edge with stop = 1 stops the modulator at once"
    else:
        at_end = if_else(("stop", halt), otherwise=begin)
        run = if_else(("count == top", at_end), otherwise="count <= count + 1;")
        step = if_else(("running", run), ("!stop", f"running <= 1;\n{begin}"))
        stopping = "when a period ends with stop = 1, the modulator stops instead of starting another"
    shown = "\nassign first = running && count == 0;" if is_shown else ""
    body = (
        f"{vector} count, top, limit;\nreg running;\n"
        + clocking.always(f"running <= 1;\ncount <= 0;\ntop <= {start};\nlimit <= {duty};", step)
        + f"\nassign q = {'' if level else '!'}(running && count < limit);{shown}"
    )
    ports = clocking.ports + inputs(stop=1, period=bits, duty=bits) + outputs(q=1)
    ports += outputs(first=1) if is_shown else ()
    told = " first is 1 exactly in the first cycle of each period (counter 0 while running)." if is_shown else ""
    return Design(
        params={**clocking.params, "bits": bits, "duty": duty, "start": start, "stop": stop, "level": level}
        | {"shown": int(is_shown)},
        ports=ports,
        descriptions=clocking.describe(
            f"the modulator to running, its counter to 0, its top to {start} and its limit to {duty}",
            (
                f"While it runs, the counter goes up by 1 at every other clock edge until it equals top; the next "
                f"edge ends the period: the counter returns to 0, and top and limit take over the inputs period and "
                f"duty, which have no effect at other times. {stopping[0].upper()}{stopping[1:]}. A stopped modulator "
                f"starts at the first clock edge with stop = 0, with the counter at 0 and period and duty taken over. "
                f"q is combinational and {level} exactly while running with the counter less than limit (unsigned), "
                f"else {1 - level}.{told}",
                f"Otherwise, running: counter == top ends the period (counter <= 0, top <= period, limit <= duty), "
                f"else counter + 1. {stopping[0].upper()}{stopping[1:]}. Stopped and stop = 0: run with counter 0, top "
                f"<= period, limit <= duty. q = {level} iff running and counter < limit, not registered.{told}",
                f"It is a pulse-width modulator with buffered settings: a period lasts top + 1 clock cycles (counter 0 "
                f"to top), and q shows {level} in its first limit cycles (all of them if limit is above top) and "
                f"{1 - level} in the rest. Only the clock edge that begins a period copies the inputs period into top "
                f"and duty into limit. {stopping[0].upper()}{stopping[1:]}. While stopped q is {1 - level}, and the "
                f"first edge with stop = 0 begins a new period.{told}",
            ),
        ),
        golden=module(ports, body),
        protocol=clocking.protocol(min_cycles=400, rare_high=("stop",)),
    )


def _num_distinct() -> int:
    num_toggles = (NUM_CLOCKINGS // 2) * 59 * 2
    num_pulses = NUM_CLOCKINGS * 2 * 2 * sum((period - 2) * (period - 1) // 2 for period in range(4, 41))
    num_pwms = NUM_CLOCKINGS * (4 + 8 + 16) * 2 * 2 * 2
    num_buffered = NUM_CLOCKINGS * (41 + 149) * 2 * 2 * 2
    return num_toggles + num_pulses + num_pwms + num_buffered


FAMILY = Family(
    name="divider_pwm",
    summary="clock dividers, pulse patterns, pulse-width modulators",
    draw=draw,
    num_distinct=_num_distinct(),
    levels=(2, 3, 4, 5),
)
