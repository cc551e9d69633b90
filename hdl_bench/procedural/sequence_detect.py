"""Sequence detectors: patterns in a serial stream, overlapping or not, Mealy or registered, with wildcards."""

import random

from hdl_bench.procedural.clocked import NUM_CLOCKINGS, draw_clocking, if_else
from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, literal, module, outputs

_LENGTHS = {1: (3, 4, 5, 6, 7, 8), 2: (3, 4, 5, 6), 3: (3, 4, 5, 6), 4: (4, 5, 6, 7), 5: (5, 6, 7, 8)}


def draw(rng: random.Random, level: int) -> Design:
    return _draw_window(rng) if level == 1 else _draw_detector(rng, level)


def _draw_window(rng: random.Random) -> Design:
    """The newest bits are in a register that starts at a given value; found is the plain comparison."""
    clocking, length = draw_clocking(rng), rng.choice(_LENGTHS[1])
    pattern, start = rng.randrange(1 << length), rng.choice((0, (1 << length) - 1))
    wanted, reset = literal(length, pattern, "b"), literal(length, start, "b")
    move = f"{{last[{length - 2}:0], d}}"
    ports = clocking.ports + inputs(d=1) + outputs(found=1)
    body = f"reg [{length - 1}:0] last;\n" + clocking.always(f"last <= {reset};", f"last <= {move};")
    return Design(
        params={**clocking.params, "pattern": f"{pattern:0{length}b}", "start": start & 1},
        ports=ports,
        descriptions=clocking.describe(
            f"the internal register last to {reset}",
            (
                f"At every other clock edge last shifts left by one and takes d into bit 0. found is 1 exactly while "
                f"last is {wanted}.",
                f"Otherwise last <= {move}. found = (last == {wanted}).",
                f"last keeps the {length} newest bits of d, the newest in bit 0. Without another register, found says "
                f"whether last equals {wanted}.",
            ),
        ),
        golden=module(ports, body + f"\nassign found = last == {wanted};"),
        protocol=clocking.protocol(min_cycles=12 << length),
    )


def _borders(pattern: str) -> bool:
    """Whether one occurrence of the pattern (with ? for any bit) can overlap another."""
    length = len(pattern)
    return any(
        all(a == b or "?" in (a, b) for a, b in zip(pattern[shift:], pattern, strict=False))
        for shift in range(1, length)
    )


def _draw_detector(rng: random.Random, level: int) -> Design:
    """Bits before the reset do not count; overlaps, an enable, wildcards and a count come with the levels."""
    clocking, length = draw_clocking(rng, has_both_edges=level >= 4), rng.choice(_LENGTHS[level])
    bits = [rng.choice("01") for _ in range(length)]
    if level == 5:
        for place in rng.sample(range(1, length - 1), rng.choice((1, 1, 2))):
            bits[place] = "?"
    pattern = "".join(bits)
    # Without a possible overlap both ways are one behaviour.
    is_overlapping = level == 2 or rng.random() < 0.4 or not _can_overlap(pattern)
    is_registered, count_bits = rng.random() < 0.5, rng.choice((2, 3, 4)) if level == 5 else 0
    has_enable = level >= 4
    extra = inputs(en=1, d=1) if has_enable else inputs(d=1)
    ports = clocking.ports + extra + (outputs(found=1, count=count_bits) if count_bits else outputs(found=1))
    body, registers = _body(pattern, is_overlapping, is_registered, has_enable, count_bits)
    resets = "last <= 0;\nnum <= 0;" + "".join(f"\n{name} <= 0;" for name in registers)
    effect = " and ".join([*(f"{name} to 0" for name in registers), "the detector to having seen no bits"])
    words = _words(pattern, is_overlapping, is_registered, has_enable)
    count = f" count is the number of detections, modulo {1 << count_bits}, and takes in a detection at the clock edge "
    count += "that samples the last bit of the pattern."
    return Design(
        params={**clocking.params, "pattern": pattern, "overlapping": int(is_overlapping), "count_bits": count_bits}
        | {"registered": int(is_registered), "enable": int(has_enable)},
        ports=ports,
        descriptions=clocking.describe(effect, tuple(text + (count if count_bits else "") for text in words)),
        golden=module(ports, _declarations(pattern) + clocking.always(resets, body[0]) + body[1], registers=registers),
        protocol=clocking.protocol(min_cycles=min(12 << length, 2000), rare_low=("en",) if has_enable else ()),
    )


def _declarations(pattern: str) -> str:
    """The last bits, how many of them count, and the hit that d completes."""
    length = len(pattern)
    value, mask = pattern.replace("?", "0"), "".join("0" if bit == "?" else "1" for bit in pattern)
    window = "{last, d}" if "?" not in pattern else f"({{last, d}} & {length}'b{mask})"
    bits = (length - 1).bit_length()
    return (
        f"reg [{length - 2}:0] last;\nreg [{bits - 1}:0] num;\n"
        f"wire hit = num == {length - 1} && {window} == {length}'b{value};\n"
    )


def _body(
    pattern: str, is_overlapping: bool, is_registered: bool, has_enable: bool, count_bits: int
) -> tuple[tuple[str, str], tuple[str, ...]]:
    """The statements of a clock edge, the assignment after the block, and the output registers."""
    length = len(pattern)
    grow = (f"num != {length - 1}", "num <= num + 1;")
    steps = [
        f"last <= {{last[{length - 3}:0], d}};",
        if_else(grow) if is_overlapping else if_else(("hit", "num <= 0;"), grow),
    ]
    if count_bits:
        steps.append(if_else(("hit", "count <= count + 1;")))
    text = "\n".join(steps)
    text = if_else(("en", text)) if has_enable else text
    hit = "en && hit" if has_enable else "hit"
    registers = (("found",) if is_registered else ()) + (("count",) if count_bits else ())
    if is_registered:
        return (f"found <= {hit};\n{text}", ""), registers
    return (text, f"\nassign found = {hit};"), registers


def _words(pattern: str, is_overlapping: bool, is_registered: bool, has_enable: bool) -> tuple[str, str, str]:
    length = len(pattern)
    wild = " (? stands for either value)" if "?" in pattern else ""
    counted = "clock edge with en = 1 (edges with en = 0 are skipped)" if has_enable else "clock edge"
    again = (
        "Occurrences may overlap: every bit can be part of several"
        if is_overlapping
        else "Occurrences do not overlap: the bits of a detected one are used up, and the search starts afresh with "
        "the next bit"
    )
    gate = " and en is 1" if has_enable else ""
    if is_registered:
        low = ", and 0 after any other clock edge" + (", also one with en = 0" if has_enable else "")
        when = f"found is a register: it becomes 1 at the clock edge that samples the last bit of the pattern{low}"
    else:
        when = (
            f"found is a Mealy output, combinational and not gated by reset: it is 1 while d is a bit that "
            f"completes the pattern at the next clock edge{gate}, and 0 otherwise"
        )
    return (
        f"A bit is taken from d at every other {counted}. The module detects the pattern {pattern}{wild}, leftmost bit "
        f"first in time, made only of bits taken since the reset. {again}. {when}.",
        f"Otherwise one bit of d each {counted}. Pattern: {pattern}{wild}, left bit oldest; bits before the reset do "
        f"not count. {again}. {when}.",
        f"The module reads a serial stream, one bit of d at each {counted}, and starts with no bits after a reset. It "
        f"waits for {length} bits that arrive in the order {pattern}{wild}. {again}. {when}.",
    )


def _can_overlap(pattern: str) -> bool:
    """Whether an occurrence can begin inside another."""
    return any(
        all(old == new or "?" in (old, new) for old, new in zip(pattern[shift:], pattern, strict=False))
        for shift in range(1, len(pattern))
    )


def _num_distinct() -> int:
    num_styles = NUM_CLOCKINGS // 2
    num_window = sum(1 << length for length in _LENGTHS[1]) * num_styles * 2
    num_plain = sum(1 << length for length in _LENGTHS[2]) * num_styles * 2
    num_enabled = sum(1 << length for length in _LENGTHS[4]) * NUM_CLOCKINGS * 2
    return num_window + num_plain + num_enabled


FAMILY = Family(
    name="sequence_detect",
    summary="sequence detectors, overlapping or not, Mealy or registered",
    draw=draw,
    num_distinct=_num_distinct(),
)
