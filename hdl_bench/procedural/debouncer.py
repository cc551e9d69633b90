"""Debouncers: outputs that follow an input only after it has been steady, with ticks, hysteresis and change pulses."""

import random

from hdl_bench.procedural.clocked import NUM_CLOCKINGS, draw_clocking, if_else
from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, module, outputs


def draw(rng: random.Random, level: int) -> Design:
    return _draw_integrator(rng) if level == 5 else _draw_steady(rng, level)


def _draw_steady(rng: random.Random, level: int) -> Design:
    """q changes after so many samples in a row that differ from it; the counts up and down may differ."""
    clocking, has_tick = draw_clocking(rng, has_both_edges=True), level == 4
    rise, fall = rng.randint(2, 9), rng.randint(2, 9)
    start, has_pulse = rng.choice((0, 1)), level == 4 and rng.random() < 0.5
    bits = (max(rise, fall) - 1).bit_length()
    limit = f"{rise - 1}" if rise == fall else f"(q ? {fall - 1} : {rise - 1})"
    declared = f"reg [{bits - 1}:0] count;\n" if bits > 1 else "reg count;\n"
    flip = "q <= d;\ncount <= 0;" + ("\nchanged <= 1;" if has_pulse else "")
    step = if_else(("d == q", "count <= 0;"), (f"count == {limit}", flip), otherwise="count <= count + 1;")
    step = if_else(("tick", step)) if has_tick else step
    step = f"changed <= 0;\n{step}" if has_pulse else step
    resets = f"q <= {start};\ncount <= 0;" + ("\nchanged <= 0;" if has_pulse else "")
    ports = clocking.ports + (inputs(tick=1) if has_tick else ()) + inputs(d=1) + outputs(q=1)
    ports += outputs(changed=1) if has_pulse else ()
    edge = "clock edge with tick = 1" if has_tick else "clock edge"
    idle = (
        " Edges with tick = 0 are not samples: they neither count nor interrupt a row of samples." if has_tick else ""
    )
    pulse = " changed is a register: 1 for exactly the clock cycle that begins with a change of q by a sample, else 0."
    pulse = pulse if has_pulse else ""
    return Design(
        params={**clocking.params, "rise": rise, "fall": fall, "start": start, "tick": int(has_tick)}
        | {"pulse": int(has_pulse)},
        ports=ports,
        descriptions=clocking.describe(
            f"q to {start}{' and changed to 0' if has_pulse else ''} and the number of differing samples to 0",
            (
                f"d is sampled at every other {edge}. A q of 0 becomes 1 at the {rise}th sample of 1 in a row, and a q "
                f"of 1 becomes 0 at the {fall}th sample of 0 in a row. A sample equal to q starts the row "
                f"over.{idle}{pulse}",
                f"Otherwise sample d each {edge}; q goes 0 -> 1 on {rise} consecutive ones (at the last of them), 1 -> "
                f"0 on {fall} consecutive zeros; samples equal to q clear the count.{idle}{pulse}",
                f"A bouncing contact d is cleaned up. Each {edge} looks at d. q believes in a new value only when it "
                f"has come without interruption: {rise} ones in a row to go from 0 to 1, {fall} zeros in a row to go "
                f"back, and the change happens at the very edge that takes the last of them. One sample of the old "
                f"value, and counting starts anew.{idle}{pulse}",
            ),
        ),
        golden=module(
            ports, declared + clocking.always(resets, step), registers=("q", "changed") if has_pulse else ("q",)
        ),
        protocol=clocking.protocol(min_cycles=600, rare_low=("tick",) if has_tick else ()),
    )


def _draw_integrator(rng: random.Random) -> Design:
    """A count that follows d up and down inside limits, with two thresholds for q."""
    clocking, top = draw_clocking(rng, has_both_edges=True), rng.randint(4, 15)
    low = rng.randint(0, top - 2)
    high = rng.randint(low + 2, top)
    # Steps of 2 both ways would leave levels out, and a threshold there would say nothing.
    start, (up, down) = rng.choice((0, 1)), rng.choice(((1, 1), (1, 2), (2, 1)))
    bits, value = top.bit_length(), top if start else 0
    grow = f"level > {top - up} ? {top} : level + {up}" if up > 1 else f"level == {top} ? {top} : level + 1"
    shrink = f"level < {down} ? 0 : level - {down}"
    body = "\n".join(
        (
            f"wire [{bits - 1}:0] next = d ? ({grow}) : ({shrink});",
            clocking.always(
                f"level <= {value};\nq <= {start};",
                "level <= next;\n" + if_else((f"next >= {high}", "q <= 1;"), (f"next <= {low}", "q <= 0;")),
            ),
        )
    )
    ports = clocking.ports + inputs(d=1) + outputs(level=bits, q=1)
    return Design(
        params={**clocking.params, "top": top, "low": low, "high": high, "start": start, "up": up, "down": down},
        ports=ports,
        descriptions=clocking.describe(
            f"level to {value} and q to {start}",
            (
                f"At every other clock edge d = 1 raises level by {up}, but not above {top}, and d = 0 lowers it by "
                f"{down}, but not below 0. The same edge sets q to 1 if the new level is {high} or more, and to 0 if "
                f"it is {low} or less; in between q keeps its value.",
                f"Otherwise level = d ? min({top}, level + {up}) : max(0, level - {down}); q = 1 if this new level >= "
                f"{high}, 0 if it is <= {low}, else hold.",
                f"level integrates a noisy bit d: each clock edge adds {up} for a 1 and takes {down} away for a 0, "
                f"stopping at {top} and at 0. q follows with hysteresis and in the same edge, judged by the level that "
                f"this edge produces: from {high} on it is 1, at {low} and below it is 0, and between them it stays "
                "what it was.",
            ),
        ),
        golden=module(ports, body, registers=("level", "q")),
        protocol=clocking.protocol(min_cycles=300),
    )


def _num_distinct() -> int:
    num_steady = NUM_CLOCKINGS * 64 * 2 * (1 + 2)
    num_integrators = NUM_CLOCKINGS * 3 * 2 * sum((top - 1) * top // 2 for top in range(4, 16))
    return num_steady + num_integrators


FAMILY = Family(
    name="debouncer",
    summary="debouncers with ticks, hysteresis and change pulses",
    draw=draw,
    num_distinct=_num_distinct(),
    levels=(3, 4, 5),
)
