"""Serial lines: shift-out transmitters, framed transmitters with parity and stop bits, receivers with error checks."""

import random

from hdl_bench.procedural.clocked import NUM_CLOCKINGS, draw_clocking, if_else
from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, module, outputs

_PARITY = ("none", "even", "odd")


def draw(rng: random.Random, level: int) -> Design:
    return _draw_receiver(rng) if level == 5 else _draw_transmitter(rng, level)


def _vector(name: str, top: int) -> str:
    """A register that can hold 0 to `top`."""
    bits = top.bit_length()
    return f"reg [{bits - 1}:0] {name};" if bits > 1 else f"reg {name};"


def _draw_transmitter(rng: random.Random, level: int) -> Design:
    """Level 3 sends bare data; level 4 frames it with start, parity and stop bits."""
    clocking, width, order = (
        draw_clocking(rng, has_both_edges=level >= 4),
        rng.randint(4, 16),
        rng.choice(("lsb", "msb")),
    )
    cycles, parity, stops, idle = rng.choice((1, 1, 2, 3, 4)), "none", 0, rng.choice((0, 1))
    if level == 4:
        cycles, parity, stops, idle = rng.randint(2, 6), rng.choice(_PARITY), rng.choice((1, 2)), 1
        width = rng.randint(5, 9)
    data = "d" if order == "lsb" else "{" + ", ".join(f"d[{place}]" for place in range(width)) + "}"
    parts = [f"{stops}'b{'1' * stops}"] if stops else []
    parts += {"none": [], "even": ["^d"], "odd": ["~^d"]}[parity]
    frame = data if not stops else "{" + ", ".join([*parts, data, "1'b0"]) + "}"
    length = width + (stops + 1 + (parity != "none") if stops else 0)
    shift = "frame <= frame >> 1;\nleft <= left - 1;"
    if cycles > 1:
        shift = if_else((f"phase == {cycles - 1}", f"phase <= 0;\n{shift}"), otherwise="phase <= phase + 1;")
    begin = f"frame <= {frame};\nleft <= {length};" + ("\nphase <= 0;" if cycles > 1 else "")
    declared = [f"reg [{length - 1}:0] frame;", _vector("left", length)]
    declared += [_vector("phase", cycles - 1)] if cycles > 1 else []
    resets = "frame <= 0;\nleft <= 0;" + ("\nphase <= 0;" if cycles > 1 else "")
    body = "\n".join(
        (
            *declared,
            clocking.always(resets, if_else(("busy", shift), ("start", begin))),
            "assign busy = left != 0;",
            f"assign tx = busy ? frame[0] : 1'b{idle};",
        )
    )
    ports = clocking.ports + inputs(start=1, d=width) + outputs(tx=1, busy=1)
    return Design(
        params={**clocking.params, "kind": "transmitter", "width": width, "order": order, "cycles": cycles}
        | {"parity": parity, "stops": stops, "idle": idle},
        ports=ports,
        descriptions=clocking.describe(
            f"the transmitter to idle (busy to 0 and tx to {idle})",
            _transmitter_words(_sent(width, order, parity, stops), length, cycles, idle),
        ),
        golden=module(ports, body),
        protocol=clocking.protocol(min_cycles=8 * length * cycles, rare_high=("start",) if cycles > 1 else ()),
    )


def _sent(width: int, order: str, parity: str, stops: int) -> str:
    """The bits of a transmission in words."""
    data = f"the {width} bits of d, " + ("d[0] first" if order == "lsb" else f"d[{width - 1}] first")
    if not stops:
        return data
    kind = "even (the XOR of all data bits)" if parity == "even" else "odd (the complement of the XOR of all data bits)"
    check = "" if parity == "none" else f", a parity bit, {kind}"
    return f"a start bit 0, {data}{check}, and {'one stop bit' if stops == 1 else 'two stop bits'} 1"


def _transmitter_words(sent: str, length: int, cycles: int, idle: int) -> tuple[str, str, str]:
    each = "one clock cycle" if cycles == 1 else f"{cycles} clock cycles"
    total = length * cycles
    return (
        f"At a clock edge before which busy is 0, start = 1 stores d and begins a transmission on tx: {sent}. Each "
        f"bit lasts {each}, the first from this edge on, and busy is 1 for these {total} cycles. While busy is 1, "
        f"start and d have no effect (also at the edge that ends the transmission). While busy is 0, tx is {idle}.",
        f"Otherwise, not busy and start = 1: send {sent}; {each} a bit, beginning right after the edge; busy = 1 for "
        f"all {total} cycles, and start is ignored at edges at which busy is 1 beforehand. Idle: tx = {idle}.",
        f"A parallel word goes out on one wire. The sender waits with tx at {idle} and busy at 0 until a clock edge "
        f"finds start high; from that edge on it sends the d of that moment, as {sent}, {each} for every bit. During "
        f"the {total} cycles of this busy is 1 and requests are lost; the edge that makes busy 0 again does not accept "
        "one either.",
    )


def _draw_receiver(rng: random.Random) -> Design:
    """A receiver that checks the start bit, the parity and the stop bit."""
    clocking, width, order = draw_clocking(rng, has_both_edges=True), rng.randint(3, 6), rng.choice(("lsb", "msb"))
    cycles, parity = rng.randint(2, 5), rng.choice(_PARITY)
    wait = rng.randint(1, cycles - 1)
    length = width + (parity != "none")
    shifted = f"{{rx, bits[{length - 1}:1]}}" if order == "lsb" else f"{{bits[{length - 2}:0], rx}}"
    word = f"bits[{width - 1}:0]" if order == "lsb" else f"bits[{length - 1}:1]"
    data = "bits" if parity == "none" else word
    good = {"none": "rx", "even": "rx && !(^bits)", "odd": "rx && ^bits"}[parity]
    sample = if_else(
        ("num == 0", if_else(("rx", "busy <= 0;"), otherwise="num <= 1;")),
        (f"num <= {length}", f"bits <= {shifted};\nnum <= num + 1;"),
        otherwise="busy <= 0;\n" + if_else((good, f"data <= {data};\nvalid <= 1;"), otherwise="error <= 1;"),
    )
    step = if_else(
        ("!busy", if_else(("!rx", f"busy <= 1;\nnum <= 0;\nphase <= {wait};"))),
        ("phase != 1", "phase <= phase - 1;"),
        otherwise=f"phase <= {cycles};\n{sample}",
    )
    body = "\n".join(
        (
            f"reg [{length - 1}:0] bits;",
            _vector("num", length + 1),
            _vector("phase", cycles),
            "reg busy;",
            clocking.always(
                "busy <= 0;\nnum <= 0;\nphase <= 1;\nbits <= 0;\ndata <= 0;\nvalid <= 0;\nerror <= 0;",
                f"valid <= 0;\nerror <= 0;\n{step}",
            ),
        )
    )
    ports = clocking.ports + inputs(rx=1) + outputs(data=width, valid=1, error=1)
    return Design(
        params={**clocking.params, "kind": "receiver", "width": width, "order": order, "cycles": cycles}
        | {"parity": parity, "wait": wait},
        ports=ports,
        descriptions=clocking.describe(
            "data, valid and error to 0 and the receiver to waiting",
            _receiver_words(width, order, cycles, parity, wait),
        ),
        golden=module(ports, body, registers=("data", "valid", "error")),
        protocol=clocking.protocol(min_cycles=1200),
    )


def _receiver_words(width: int, order: str, cycles: int, parity: str, wait: int) -> tuple[str, str, str]:
    first = "data[0]" if order == "lsb" else f"data[{width - 1}]"
    after = "edge" if wait == 1 else "edges"
    frame = f"{width} data bits ({first} first)"
    good = "the stop bit is 1"
    if parity != "none":
        frame += ", a parity bit"
        good += f" and the number of ones among the data and parity bits is {parity}"
    return (
        f"The receiver waits until a clock edge samples rx = 0. It samples rx again {wait} clock {after} later: a 1 is "
        f"a false start, and it waits again from the next edge on. A 0 is the start bit; then come {frame} and a stop "
        f"bit, each sampled {cycles} clock edges after the bit before. At the edge of the stop sample, if {good}, data "
        "takes the data bits and valid becomes 1; otherwise error becomes 1 and data keeps its value. Each of valid "
        "and error is a register that is 1 for one clock cycle. At the next edge the receiver waits again.",
        f"Otherwise: waiting, rx = 0 at an edge is edge 0. Sample the start bit at edge {wait}: 1 aborts (waiting from "
        f"the next edge), 0 goes on. Then {frame}, stop bit at edges {wait + cycles}, {wait + 2 * cycles}, ... At the "
        f"stop edge: good ({good}): data <= word, valid <= 1; bad: error <= 1, data holds. valid and error are 0 after "
        "all other edges. Waiting again from the edge after the stop edge.",
        f"A serial line rx is idle at 1. The first clock edge that finds it at 0 starts a reception. {wait} clock "
        f"{after} later the line is looked at once more, and if it is 1 this was noise and the wait goes on with the "
        f"following edge. If not, one bit is taken every {cycles} clock edges from there: {frame}, and the stop bit. "
        f"The edge that takes the stop bit ends the reception. A good one ({good}) puts the word in data and gives one "
        "cycle of valid; a bad one leaves data alone and gives one cycle of error. From the next edge on the "
        "receiver waits for a 0 again.",
    )


def _num_distinct() -> int:
    num_shifters = (NUM_CLOCKINGS // 2) * 13 * 2 * 2 * 4
    num_framed = NUM_CLOCKINGS * 5 * 2 * 5 * 3 * 2
    num_receivers = NUM_CLOCKINGS * 4 * 2 * 3 * (1 + 2 + 3 + 4)
    return num_shifters + num_framed + num_receivers


FAMILY = Family(
    name="serial",
    summary="serial transmitters and receivers",
    draw=draw,
    num_distinct=_num_distinct(),
    levels=(3, 4, 5),
)
