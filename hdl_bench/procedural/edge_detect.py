"""Edge detectors: rising, falling or any edge per bit, captures, stretched pulses, counts with a hold-off time."""

import random

from hdl_bench.procedural.clocked import NUM_CLOCKINGS, draw_clocking, if_else
from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, literal, module, outputs

_WIDTHS = (*range(1, 17), 20, 24, 32)
_EDGES = {  # name -> (Verilog of a sample and the one before, words)
    "rise": ("{now} & ~{old}", "a rising edge (0 to 1)"),
    "fall": ("~{now} & {old}", "a falling edge (1 to 0)"),
    "any": ("{now} ^ {old}", "an edge in either direction (0 to 1 or 1 to 0)"),
}


def draw(rng: random.Random, level: int) -> Design:
    return {1: _draw_pulse, 2: _draw_mixed, 3: _draw_capture, 4: _draw_stretch, 5: _draw_count}[level](rng)


def _vector(name: str, width: int) -> str:
    return f"reg [{width - 1}:0] {name};" if width > 1 else f"reg {name};"


def _draw_pulse(rng: random.Random) -> Design:
    """One kind of edge on every bit, with the pulse in the same cycle or registered."""
    clocking, width, kind = draw_clocking(rng), rng.choice(_WIDTHS), rng.choice(sorted(_EDGES))
    before, is_registered = rng.choice((0, 1)), rng.random() < 0.5
    expression, words = _EDGES[kind][0].format(now="d", old="prev"), _EDGES[kind][1]
    previous, low = literal(width, before * ((1 << width) - 1), "h"), literal(width, 0, "h")
    place = "[i]" if width > 1 else ""
    step = f"{words} from prev{place} to d{place}"
    if is_registered:
        effect = f"pulse to {low} and the internal register prev to {previous}"
        body = clocking.always(f"prev <= {previous};\npulse <= {low};", f"prev <= d;\npulse <= {expression};")
        phrases = (
            f"At every other clock edge prev takes d, and pulse{place} becomes 1 if there is {step} (both as before "
            "the clock edge), else 0.",
            f"Otherwise prev <= d, and pulse{place} <= 1 for {step}, else 0. pulse is registered.",
            f"It watches d: each clock edge compares d with prev, the value of d at the clock edge before, and "
            f"registers pulse{place} as 1 for {step} and as 0 if there is none.",
        )
    else:
        effect = f"the internal register prev to {previous}"
        body = clocking.always(f"prev <= {previous};", "prev <= d;") + f"\nassign pulse = {expression};"
        phrases = (
            f"At every other clock edge prev takes d. pulse is combinational: pulse{place} is 1 while there is {step}, "
            "else 0.",
            f"Otherwise prev <= d. Combinational, also during reset: pulse{place} = 1 for {step}, else 0.",
            f"It watches d: prev keeps the value of d at the last clock edge, and with no register in the output "
            f"pulse{place} is 1 as long as there is {step}, and 0 if there is none.",
        )
    ports = clocking.ports + inputs(d=width) + outputs(pulse=width)
    return Design(
        params={**clocking.params, "width": width, "kind": kind, "before": before, "registered": int(is_registered)},
        ports=ports,
        descriptions=clocking.describe(effect, phrases),
        golden=module(ports, _vector("prev", width) + "\n" + body, registers=("pulse",) if is_registered else ()),
        protocol=clocking.protocol(),
    )


def _draw_mixed(rng: random.Random) -> Design:
    """Rising edges on the bits of a mask, falling or any edges on the others; a registered pulse."""
    clocking, width = draw_clocking(rng, has_both_edges=True), rng.choice(_WIDTHS[3:])
    mask, other = rng.randrange(1, (1 << width) - 1), rng.choice(("fall", "any"))
    selected, zero = literal(width, mask, "b"), literal(width, 0)
    tail = "~d & prev" if other == "fall" else "(d ^ prev)"
    body = (
        _vector("prev", width)
        + "\n"
        + clocking.always(
            f"prev <= {zero};\npulse <= {zero};",
            f"prev <= d;\npulse <= (d & ~prev & {selected}) | ({tail} & ~{selected});",
        )
    )
    rising, words = _EDGES["rise"][1], _EDGES[other][1]
    places = ", ".join(str(bit) for bit in range(width) if mask >> bit & 1)
    ports = clocking.ports + inputs(d=width) + outputs(pulse=width)
    return Design(
        params={**clocking.params, "width": width, "mask": mask, "other": other},
        ports=ports,
        descriptions=clocking.describe(
            f"pulse to {zero} and the remembered previous value of d to {zero}",
            (
                f"At every other clock edge each bit of d is compared with its value at the previous clock edge. In "
                f"the bit positions where the constant {selected} has a 1, pulse[i] becomes 1 on {rising}; in the "
                f"other positions it becomes 1 on {words}. Bits without such an edge become 0.",
                f"Otherwise pulse[i] = 1 for one cycle after {rising} of d[i] for i in {{{places}}}, after {words} of "
                "d[i] for all other i, else 0; pulse is registered.",
                f"Each clock edge compares d with the sample taken one clock edge earlier and registers one pulse bit "
                f"per input bit. Bits {places} react to {rising} only. All the other bits react to {words}. A bit "
                "with nothing to report is 0.",
            ),
        ),
        golden=module(ports, body, registers=("pulse",)),
        protocol=clocking.protocol(),
    )


def _draw_capture(rng: random.Random) -> Design:
    """Sticky bits that an edge sets and a clear input, one for all or one a bit, takes back."""
    clocking, width, kind = draw_clocking(rng, has_both_edges=True), rng.choice(_WIDTHS), rng.choice(sorted(_EDGES))
    winner, clear_width = rng.choice(("edge", "clear")), rng.choice((1, width))
    before = rng.choice((0, 1))
    hit, words = _EDGES[kind][0].format(now="d", old="prev"), _EDGES[kind][1]
    zero, previous = literal(width, 0, "h"), literal(width, before * ((1 << width) - 1), "h")
    kept = f"{{{width}{{~clear}}}}" if clear_width < width else "~clear"
    following = f"(seen & {kept}) | ({hit})" if winner == "edge" else f"(seen | ({hit})) & {kept}"
    body = (
        _vector("prev", width)
        + "\n"
        + clocking.always(f"prev <= {previous};\nseen <= {zero};", f"prev <= d;\nseen <= {following};")
    )
    scope = "every bit of seen" if clear_width < width else "seen[i], by clear[i]," if width > 1 else "seen"
    place = "[i]" if width > 1 else ""
    both = "an edge and a clear at the same clock edge leave the bit at " + ("1" if winner == "edge" else "0")
    ports = clocking.ports + inputs(d=width, clear=clear_width) + outputs(seen=width)
    return Design(
        params={**clocking.params, "width": width, "kind": kind, "winner": winner, "before": before}
        | {"clear_width": clear_width},
        ports=ports,
        descriptions=clocking.describe(
            f"seen to {zero} and the remembered previous value of d to {previous}",
            (
                f"At every other clock edge d is compared with its value at the previous clock edge: {words} of "
                f"d{place} sets seen{place}, which then stays 1. A synchronous active-high clear sets {scope} to 0. If "
                f"both happen, {both}.",
                f"Otherwise seen{place} is sticky: set by {words} of d{place} (this clock edge against the one "
                f"before). clear = 1 zeroes {scope} at the clock edge; {both}.",
                f"The output remembers edges. Once d{place} has made {words} between two clock edges, seen{place} is 1 "
                f"from the second of them until it is cleared. A high clear at a clock edge clears {scope}; {both}. "
                "Clearing does not touch the remembered sample of d.",
            ),
        ),
        golden=module(ports, body, registers=("seen",)),
        protocol=clocking.protocol(rare_high=("clear",) if clear_width == 1 else ()),
    )


def _draw_stretch(rng: random.Random) -> Design:
    """A delayed edge of one bit makes a pulse of several cycles, retriggerable or not."""
    clocking, kind = draw_clocking(rng, has_both_edges=True), rng.choice(sorted(_EDGES))
    delay, length, is_retriggered = rng.randint(1, 4), rng.randint(2, 12), rng.random() < 0.5
    bits = length.bit_length()
    top, zero = delay, literal(delay + 1, 0)
    hit = _EDGES[kind][0].format(now=f"sample[{top - 1}]", old=f"sample[{top}]")
    start = "hit" if is_retriggered else "hit && left == 0"
    body = "\n".join(
        (
            f"reg [{top}:0] sample;",
            f"reg [{bits - 1}:0] left;",
            f"wire hit = {hit};",
            clocking.always(
                f"sample <= {zero};\nleft <= 0;",
                f"sample <= {{sample[{top - 1}:0], d}};\n"
                + if_else((start, f"left <= {length};"), ("left != 0", "left <= left - 1;")),
            ),
            "assign pulse = left != 0;",
        )
    )
    words = _EDGES[kind][1]
    again = (
        f"an event while pulse is 1 restarts the pulse, so that it lasts {length} cycles from the last event"
        if is_retriggered
        else "events at clock edges before which pulse is 1 are ignored"
    )
    ago = f"{delay} clock edge{'s' * (delay > 1)} earlier"
    ports = clocking.ports + inputs(d=1) + outputs(pulse=1)
    return Design(
        params={**clocking.params, "kind": kind, "delay": delay, "length": length, "retriggered": int(is_retriggered)},
        ports=ports,
        descriptions=clocking.describe(
            "pulse to 0 and all remembered samples of d to 0",
            (
                f"d is sampled at every clock edge. An event happens at a clock edge when the sample taken {ago}, "
                f"against the one taken just before that, shows {words}. From an event on, pulse is 1 for "
                f"{length} clock cycles; {again}. pulse changes only at clock edges (and on reset).",
                f"Otherwise: pulse = 1 for {length} cycles, starting at the clock edge that comes {delay} after the "
                f"one that first samples the new value of {words} on d; {again}.",
                f"The design stretches edges of d. It keeps the last {delay + 1} samples of d, one a clock edge. "
                f"Whenever, at a clock edge, the two oldest of them (from {delay + 1} and {delay} edges ago) make "
                f"{words}, that is an event, and pulse goes high at that clock edge for {length} cycles; {again}.",
            ),
        ),
        golden=module(ports, body),
        protocol=clocking.protocol(min_cycles=20 * length),
    )


def _draw_count(rng: random.Random) -> Design:
    """Counts edges, deaf for some cycles after each counted one; wraps or saturates; has a clear."""
    clocking, kind = draw_clocking(rng, has_both_edges=True), rng.choice(sorted(_EDGES))
    deaf, width = rng.randint(2, 6), rng.randint(2, 3)
    is_saturating, winner = rng.random() < 0.5, rng.choice(("edge", "clear"))
    top = (1 << width) - 1
    hit, words = _EDGES[kind][0].format(now="d", old="prev"), _EDGES[kind][1]
    step = (
        if_else((f"hit && count != {top}", "count <= count + 1;"))
        if is_saturating
        else if_else(("hit", "count <= count + 1;"))
    )
    cleared = "count <= hit;" if winner == "edge" else "count <= 0;"
    body = "\n".join(
        (
            "reg prev;",
            f"reg [{deaf.bit_length() - 1}:0] wait_left;",
            f"wire hit = ({hit}) && wait_left == 0;",
            clocking.always(
                "prev <= 0;\nwait_left <= 0;\ncount <= 0;",
                "prev <= d;\n"
                + if_else(("hit", f"wait_left <= {deaf};"), ("wait_left != 0", "wait_left <= wait_left - 1;"))
                + "\n"
                + if_else(("clear", cleared))
                + "\n"
                + f"else {step}",
            ),
        )
    )
    end = f"at {top} it stays {top}" if is_saturating else f"after {top} comes 0"
    both = "1, counting that edge" if winner == "edge" else "0, and that edge is not counted"
    ports = clocking.ports + inputs(d=1, clear=1) + outputs(count=width)
    return Design(
        params={**clocking.params, "kind": kind, "deaf": deaf, "width": width, "saturating": int(is_saturating)}
        | {"winner": winner},
        ports=ports,
        descriptions=clocking.describe(
            "count to 0 and the remembered sample of d to 0, and ends any ignoring of edges",
            (
                f"count is the number of accepted edges of d. At each clock edge d is compared with its value at the "
                f"previous clock edge; {words} is accepted unless one was accepted at any of the {deaf} previous clock "
                f"edges. An accepted edge increments count; {end}. A synchronous clear = 1 sets count to 0; if an edge "
                f"is accepted at the same clock edge, count becomes {both}. clear does not alter which edges are "
                "accepted.",
                f"Otherwise: accept {words} of d (this clock edge against the last), then ignore edges at the next "
                f"{deaf} clock edges (a cleared or saturated accept ignores them too). count += 1 per accepted edge, "
                f"{end}. clear = 1: count = 0, or with an accepted edge at the same time {both}.",
                f"A noisy line d is being counted. A sample that, against the sample one clock edge earlier, is "
                f"{words} counts, and makes the counter deaf: during the next {deaf} clock edges no edge of d is "
                f"accepted. Each accepted edge adds one to count, and {end}. When clear is high at a clock edge, count "
                f"goes to 0 instead, or, if this clock edge also accepts an edge, to {both}. The deaf time runs on "
                "regardless of clear.",
            ),
        ),
        golden=module(ports, body, registers=("count",)),
        protocol=clocking.protocol(min_cycles=(deaf + 4) * top * 20, rare_high=("clear",)),
    )


def _num_distinct() -> int:
    num_pulse = len(_WIDTHS) * (NUM_CLOCKINGS // 2) * 3 * 2 * 2
    num_mixed = sum((1 << width) - 2 for width in _WIDTHS[3:]) * NUM_CLOCKINGS * 2
    num_capture = len(_WIDTHS) * NUM_CLOCKINGS * 3 * 2 * 2
    num_stretch = NUM_CLOCKINGS * 3 * 4 * 11 * 2
    num_count = NUM_CLOCKINGS * 3 * 5 * 2 * 2 * 2
    return num_pulse + num_mixed + num_capture + num_stretch + num_count


FAMILY = Family(
    name="edge_detect",
    summary="edge detectors, captures, stretchers and counters",
    draw=draw,
    num_distinct=_num_distinct(),
)
