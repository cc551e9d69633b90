"""Timers: one-shots, countdowns with a prescaler, watchdogs with a time-out, watchdogs with a window."""

import random

from hdl_bench.procedural.clocked import NUM_CLOCKINGS, draw_clocking, if_else
from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, module, outputs


def draw(rng: random.Random, level: int) -> Design:
    return {2: _draw_one_shot, 3: _draw_countdown, 4: _draw_watchdog, 5: _draw_window}[level](rng)


def _register(name: str, top: int) -> str:
    """A register that can hold 0 to `top`."""
    bits = top.bit_length()
    return f"reg [{bits - 1}:0] {name};" if bits > 1 else f"reg {name};"


def _draw_one_shot(rng: random.Random) -> Design:
    """start makes an output active for a number of cycles, restarted by another start or not."""
    clocking, length = draw_clocking(rng), rng.randint(2, 60)
    is_restarted, level = rng.random() < 0.5, rng.choice((0, 1))
    begin = "start" if is_restarted else "start && left == 0"
    step = if_else((begin, f"left <= {length};"), ("left != 0", "left <= left - 1;"))
    again = (
        f"a start while it runs lets it run {length} cycles from there"
        if is_restarted
        else "a start while it runs is ignored"
    )
    ports = clocking.ports + inputs(start=1) + outputs(q=1)
    body = f"{_register('left', length)}\n{clocking.always('left <= 0;', step)}\nassign q = left "
    body += "!= 0;" if level else "== 0;"
    return Design(
        params={**clocking.params, "length": length, "restarted": int(is_restarted), "level": level},
        ports=ports,
        descriptions=clocking.describe(
            f"the timer to stopped (q to {1 - level})",
            (
                f"At every other clock edge with start = 1 the timer starts: q is {level} for {length} clock cycles "
                f"from this edge on, then {1 - level} again; {again}. q changes at clock edges and by reset only.",
                f"Otherwise one-shot: start = 1 gives q = {level} for {length} cycles, else q = {1 - level}; {again}.",
                f"q rests at {1 - level}. A clock edge that sees start high sends it to {level} for exactly {length} "
                f"clock cycles. As to a start while q is {level} before the edge: {again}.",
            ),
        ),
        golden=module(ports, body),
        protocol=clocking.protocol(min_cycles=6 * length, rare_high=("start",)),
    )


def _draw_countdown(rng: random.Random) -> Design:
    """A loadable countdown in units of some cycles, one-shot or periodic, with a pulse at its end."""
    clocking, bits, unit = draw_clocking(rng, has_both_edges=True), rng.randint(2, 5), rng.randint(2, 6)
    is_periodic, is_exact = rng.random() < 0.5, rng.random() < 0.5
    ending = "left <= again;" if is_periodic else "left <= 0;"
    count = if_else(("left == 1", f"{ending}\ndone <= 1;"), ("left != 0", "left <= left - 1;"))
    tick = if_else((f"phase == {unit - 1}", f"phase <= 0;\n{count}"), otherwise="phase <= phase + 1;")
    load = "left <= n;" + ("\nagain <= n;" if is_periodic else "") + ("\nphase <= 0;" if is_exact else "")
    # Without an exact start the units go on beneath a load, and an edge that loads does not count one down.
    other = if_else(("load", load), otherwise=tick)
    if not is_exact:
        advance = f"phase <= phase == {unit - 1} ? 0 : phase + 1;"
        other = f"{advance}\n" + if_else(("load", load), (f"phase == {unit - 1}", count))
    declared = _register("phase", unit - 1) + (f"\nreg [{bits - 1}:0] again;" if is_periodic else "")
    resets = "left <= 0;\nphase <= 0;\ndone <= 0;" + ("\nagain <= 0;" if is_periodic else "")
    ports = clocking.ports + inputs(load=1, n=bits) + outputs(left=bits, done=1)
    body = f"{declared}\n{clocking.always(resets, f'done <= 0;{chr(10)}{other}')}"
    units = (
        f"a load starts a new unit, and each {unit}th clock edge after it ends one"
        if is_exact
        else f"every {unit}th clock edge after the reset ends a unit, and loads do not shift these edges"
    )
    end = "left takes the last loaded n again" if is_periodic else "left becomes 0 and stays there until a load"
    first = "; before any load, units count from the reset on" if is_exact else ""
    return Design(
        params={**clocking.params, "bits": bits, "unit": unit, "periodic": int(is_periodic), "exact": int(is_exact)},
        ports=ports,
        descriptions=clocking.describe(
            "left and done to 0 and starts a new unit of time",
            (
                f"Time is counted in units of {unit} clock cycles: {units}{first}. At every other clock edge load = 1 "
                f"puts n in left (no countdown at this edge). Else, at an edge that ends a unit, a left above 1 is "
                f"decremented, and if left is 1, {end} and done becomes 1; a left of 0 is left alone. done is a "
                "register and 0 after every other edge.",
                f"Otherwise load: left <= n; else at a unit's end: left > 1: left - 1; left = 1: done <= 1 and {end}; "
                f"left = 0: hold. Unit = {unit} edges: {units}{first}. done <= 0 at all other edges.",
                f"The timer counts down from n in steps of {unit} clock cycles. In detail, {units}{first}. An edge "
                f"with load high only loads n into left. Other edges that end a unit take one from left, but not from "
                f"0; where this would reach 0 from 1, {end}, and done is 1 for the one cycle after the edge.",
            ),
        ),
        golden=module(ports, body, registers=("left", "done")),
        protocol=clocking.protocol(min_cycles=12 * unit << min(bits, 4), rare_high=("load",)),
    )


def _draw_watchdog(rng: random.Random) -> Design:
    """An alarm after so many cycles without a kick, with an earlier warning; a kick or an acknowledge ends it."""
    clocking, limit = draw_clocking(rng, has_both_edges=True), rng.randint(6, 40)
    warning, ends = rng.randint(2, limit - 2), rng.choice(("kick", "ack"))
    step = if_else(("kick", "count <= 0;"), (f"count != {limit}", "count <= count + 1;"))
    alarm = f"assign alarm = count == {limit};"
    declared = _register("count", limit)
    ports = clocking.ports + inputs(kick=1) + outputs(warning=1, alarm=1)
    told = "a kick ends warning and alarm like anything else"
    if ends == "ack":
        step = if_else(
            (f"count == {limit}", if_else(("ack", "count <= 0;"))),
            ("kick", "count <= 0;"),
            otherwise="count <= count + 1;",
        )
        ports = clocking.ports + inputs(kick=1, ack=1) + outputs(warning=1, alarm=1)
        told = (
            f"at {limit} kick has no effect, and only ack = 1 at a clock edge sets the count to 0; below, ack has none"
        )
    body = "\n".join((declared, clocking.always("count <= 0;", step), f"assign warning = count >= {warning};", alarm))
    return Design(
        params={**clocking.params, "limit": limit, "warning": warning, "ends": ends},
        ports=ports,
        descriptions=clocking.describe(
            "the internal count to 0",
            (
                f"At every other clock edge kick = 1 sets the count to 0 and kick = 0 increments it, up to {limit}, "
                f"where it stays; {told}. Combinational outputs: warning is 1 exactly while the count is {warning} or "
                f"more, alarm exactly while it is {limit}.",
                f"Otherwise count <= kick ? 0 : min(count + 1, {limit}); {told}. warning = (count >= {warning}), alarm "
                f"= (count == {limit}), not registered.",
                f"The watchdog wants to be kicked. It counts clock edges without kick; an edge with kick high sets the "
                f"count back to 0. From {warning} on it shows warning, at {limit} also alarm, and there the count "
                f"stops. To be exact, {told}. Both outputs follow the count without delay.",
            ),
        ),
        golden=module(ports, body),
        protocol=clocking.protocol(min_cycles=16 * limit, rare_high=("kick",)),
    )


def _draw_window(rng: random.Random) -> Design:
    """A kick must come inside a window; early and late ones are told apart, and faults are counted."""
    clocking, opens = draw_clocking(rng, has_both_edges=True), rng.randint(2, 12)
    closes, bits, late = opens + rng.randint(3, 20), rng.choice((2, 3)), rng.choice(("restart", "wait"))
    most, is_saturating = (1 << bits) - 1, rng.random() < 0.5
    add = f"faults <= faults == {most} ? {most} : faults + 1;" if is_saturating else "faults <= faults + 1;"
    expired = f"late <= 1;\n{add}\n" + ("count <= 0;" if late == "restart" else "waiting <= 1;")
    run = if_else(
        ("kick", "count <= 0;\n" + if_else((f"count < {opens}", f"early <= 1;\n{add}"))),
        (f"count == {closes}", expired),
        otherwise="count <= count + 1;",
    )
    resets = "count <= 0;\nearly <= 0;\nlate <= 0;\nfaults <= 0;"
    declared = _register("count", closes)
    if late == "wait":
        run = if_else(("waiting", if_else(("kick", "waiting <= 0;\ncount <= 0;"))), otherwise=run)
        declared, resets = f"{declared}\nreg waiting;", f"{resets}\nwaiting <= 0;"
    after = (
        "the count returns to 0"
        if late == "restart"
        else "the watchdog waits: nothing is counted until a kick, which is no fault, starts it with a count of 0"
    )
    many = f"stops at {most}" if is_saturating else f"goes from {most} to 0"
    ports = clocking.ports + inputs(kick=1) + outputs(early=1, late=1, faults=bits)
    return Design(
        params={**clocking.params, "opens": opens, "closes": closes, "bits": bits, "late": late}
        | {"saturating": int(is_saturating)},
        ports=ports,
        descriptions=clocking.describe(
            "early, late, faults and the internal count to 0 and the watchdog to running",
            (
                f"A kick must come while the count is {opens} to {closes}. At every other clock edge: kick = 1 sets "
                f"the count to 0, and is an early fault if the count before the edge is less than {opens}. Without "
                f"kick, a count of {closes} is a late fault and {after}; any other count goes up by 1. An early fault "
                f"makes early 1, a late one late, for one clock cycle each (registers, 0 after all other edges). Every "
                f"fault adds 1 to faults, which {many}.",
                f"Otherwise (count before the edge): kick: count <= 0, early fault if count < {opens}; no kick and "
                f"count == {closes}: late fault, {after}; else count + 1. Fault: early or late <= 1 for one cycle, "
                f"faults + 1 ({many}).",
                f"This watchdog is particular: it counts clock edges since the last kick and accepts a kick only when "
                f"the count it finds is {opens} to {closes}. A kick always sets the count to 0, but one that finds "
                f"less than {opens} is an early fault. An edge without kick that finds {closes} is a late fault, and "
                f"{after}. Each fault shows for the one following cycle as early or late, both registers, and is added "
                f"to faults at the same edge; faults {many}.",
            ),
        ),
        golden=module(
            ports,
            f"{declared}\n" + clocking.always(resets, f"early <= 0;\nlate <= 0;\n{run}"),
            registers=("early", "late", "faults"),
        ),
        protocol=clocking.protocol(min_cycles=20 * closes, rare_high=("kick",)),
    )


def _num_distinct() -> int:
    num_one_shots = (NUM_CLOCKINGS // 2) * 59 * 2 * 2
    num_countdowns = NUM_CLOCKINGS * 4 * 5 * 2 * 2
    num_watchdogs = NUM_CLOCKINGS * 2 * sum(limit - 3 for limit in range(6, 41))
    num_windows = NUM_CLOCKINGS * 11 * 18 * 2 * 2 * 2
    return num_one_shots + num_countdowns + num_watchdogs + num_windows


FAMILY = Family(
    name="timer_watchdog",
    summary="one-shots, countdowns, watchdogs",
    draw=draw,
    num_distinct=_num_distinct(),
    levels=(2, 3, 4, 5),
)
