"""Decoders: one-hot and thermometer codes with offset, order, enable and polarity, and address maps with regions."""

import itertools
import random

from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, literal, module, outputs
from verifiers.types import Protocol


def draw(rng: random.Random, level: int) -> Design:
    return _draw_code(rng, level) if level <= 2 else _draw_map(rng, level)


def _draw_code(rng: random.Random, level: int) -> Design:
    """Output bit (code + offset) or (offset - code), modulo their number; level 2 adds codes of several bits."""
    size = rng.choice((2, 3, 4))
    num_outputs, is_low, is_down = 1 << size, rng.random() < 0.5, rng.random() < 0.5
    offset, enable = rng.randrange(num_outputs), rng.choice(("none", "high", "low"))
    kind = "one" if level == 1 else rng.choice(("pair", "up_to", "from"))
    ports = inputs(**({} if enable == "none" else {"en": 1}), a=size) + outputs(y=num_outputs)
    index = f"{literal(size, offset)} - a" if is_down else f"a + {literal(size, offset)}" if offset else "a"
    one = literal(num_outputs, 1)
    everything = f"{{{num_outputs}{{1'b1}}}}"
    code = {
        "one": f"{one} << k",
        "pair": f"({one} << k) | ({one} << ((k + 1) % {num_outputs}))",
        "up_to": f"~({everything} << k << 1)",
        "from": f"{everything} << k",
    }[kind]
    active = {"none": "code", "high": f"(en ? code : {literal(num_outputs, 0)})"}
    active["low"] = f"(en ? {literal(num_outputs, 0)} : code)"
    body = [f"wire [{size - 1}:0] k = {index};", f"wire [{num_outputs - 1}:0] code = {code};"]
    body.append(f"assign y = {'~' * is_low}{active[enable]};")
    if level == 1 and not offset and not is_down and enable == "none":
        body = [f"assign y = {'~(' * is_low}{one} << a{')' * is_low};"]
    on, off = (0, 1) if is_low else (1, 0)
    number = f"{offset} - a" if is_down else f"a + {offset}" if offset else "a"
    which = f"k = ({number}) modulo {num_outputs}" if number != "a" else "k = a"
    bits = {
        "one": "bit k of y",
        "pair": f"bit k of y and the bit after it (bit 0 comes after bit {num_outputs - 1})",
        "up_to": "bits 0 to k of y",
        "from": f"bits k to {num_outputs - 1} of y",
    }[kind]
    gate = {"none": "", "high": f" This holds while en is 1; while en is 0, all bits of y are {off}."}
    gate["low"] = f" This holds while en is 0 (active low); while en is 1, all bits of y are {off}."
    return Design(
        params={
            "style": "code",
            "size": size,
            "offset": offset,
            "is_down": int(is_down),
            "kind": kind,
            "is_low": int(is_low),
            "enable": enable,
        },
        ports=ports,
        descriptions=(
            f"Implement a combinational decoder. Let {which} (a is unsigned). Then {bits} should be {on} and all "
            f"other bits of y should be {off}.{gate[enable]}",
            f"{size}-to-{num_outputs} decoder, outputs active {'low' if is_low else 'high'}: {which}; active: "
            f"{bits}; the rest inactive.{gate[enable]} No clock.",
            f"The unsigned code a selects outputs as follows. Take {which}. Drive {bits} to {on} and every other "
            f"bit to {off}.{gate[enable]} Bit 0 is the least significant bit, and nothing is stored.",
        ),
        golden=module(ports, "\n".join(body)),
        protocol=Protocol(),
    )


def _draw_map(rng: random.Random, level: int) -> Design:
    """An address map: regions with or without overlap (the first in a drawn order wins), read-only ones, an error."""
    size = {3: 6, 4: 8, 5: 10}[level] + rng.randint(0, 2)
    num_regions = {3: 2, 4: 3, 5: 5}[level] + rng.randrange(2)
    regions = _draw_regions(rng, size, num_regions, can_overlap=level == 5)
    read_only = [level > 3 and rng.random() < 0.4 for _ in regions]
    has_write, one = any(read_only), 0 if level > 3 and rng.random() < 0.5 else 1
    zero = 1 - one
    ports = inputs(**({"write": 1} if has_write else {}), valid=1, addr=size) + outputs(sel=num_regions, error=1)
    ports += outputs(offset=size) if level == 5 else ()
    registers = ("sel", "error", "offset") if level == 5 else ("sel", "error")
    body = _map_body(size, regions, read_only, one, has_offset=level == 5)
    digits = (size + 3) // 4
    spans = [f"{first:0{digits}x} to {last:0{digits}x}" for first, last in regions]
    named = [
        f"sel[{place}]: {span}{', read-only' if fixed else ''}"
        for place, (span, fixed) in enumerate(zip(spans, read_only, strict=True))
    ]
    order = " Where regions overlap, the one listed first counts." if level == 5 else ""
    writes = " An access with write = 1 to a read-only region selects nothing and is an error." if has_write else ""
    extra = ""
    if level == 5:
        extra = (
            " offset is the address minus the first address of the region that counts (also for a refused write), "
            "and 0 if there is none or valid is 0."
        )
    return Design(
        params={
            "style": "map",
            "size": size,
            "regions": ",".join(f"{first}-{last}" for first, last in regions),
            "read_only": "".join(str(int(flag)) for flag in read_only),
            "active": one,
        },
        ports=ports,
        descriptions=(
            "Implement a combinational address decoder. When valid is 1, the bit of sel whose region contains "
            f"addr is {one} and the others are {zero}. Regions (hexadecimal, both ends included): "
            f"{'; '.join(named)}.{order}{writes} error is 1 when valid is 1 and no bit of sel is active, else 0. "
            f"When valid is 0, all bits of sel are {zero}.{extra}",
            "Address map (addr in hex, ends inclusive):\n"
            + "\n".join(f"  {entry}" for entry in named)
            + f"\nsel bits are active {'high' if one else 'low'}; all inactive when valid = 0. error = valid and "
            f"nothing selected.{order}{writes}{extra} No clock.",
            f"A bus has {num_regions} targets. An access is present while valid is 1 and goes to the target whose "
            f"range (hexadecimal, ends included) holds addr: {'; '.join(named)}.{order}{writes} The select line of "
            f"the target that takes the access is {one}, every other one is {zero}; without an access all are "
            f"{zero}. An access that no target takes makes error 1, which is otherwise 0.{extra}",
        ),
        golden=module(ports, "\n".join(body), registers=registers),
        protocol=Protocol(rare_low=("valid",)),
    )


def _map_body(
    size: int, regions: list[tuple[int, int]], read_only: list[bool], one: int, *, has_offset: bool
) -> list[str]:
    """The golden of an address map; `one` is the level of an active select line."""
    idle = literal(len(regions), one - 1, "b")  # all zeros, or all ones when active is 0
    body = ["always @(*) begin", f"  sel = {idle};", "  error = valid;"]
    body += [f"  offset = {literal(size, 0)};"] if has_offset else []
    body.append("  if (valid) begin")
    for place, ((first, last), is_fixed) in enumerate(zip(regions, read_only, strict=True)):
        tests = [f"addr >= {literal(size, first, 'h')}"] if first else []
        tests += [f"addr <= {literal(size, last, 'h')}"] if last < (1 << size) - 1 else []
        select, error = ("!write" if one else "write", "write") if is_fixed else (f"1'b{one}", "1'b0")
        body.append(f"    {'else ' * (place > 0)}if ({' && '.join(tests)}) begin")
        body += [f"      sel[{place}] = {select};", f"      error = {error};"]
        body += [f"      offset = addr - {literal(size, first, 'h')};"] if has_offset else []
        body.append("    end")
    return [*body, "  end", "end"]


def _draw_regions(rng: random.Random, size: int, num_regions: int, *, can_overlap: bool) -> list[tuple[int, int]]:
    """Regions in order of priority. Each keeps a share of its own, and some space stays free, so that tests meet "
    "all."""
    share = (1 << size) // (3 * num_regions)
    slack = (1 << size) - (num_regions + 1) * share
    cuts = [0, *sorted(rng.randrange(slack + 1) for _ in range(2 * num_regions)), slack]
    parts = [after - before for before, after in itertools.pairwise(cuts)]  # gap, region, gap, ..., gap
    free = 2 * rng.randrange(num_regions + 1)  # the gap that is certain not to be empty
    bases, address = [], 0
    for place, part in enumerate(parts):
        length = part + (share if place % 2 or place == free else 0)
        if place % 2:
            bases.append((address, address + length - 1))
        address += length
    rank = rng.sample(range(num_regions), num_regions)  # rank[i]: priority of the i-th region by address
    regions = [_grow(rng, bases, rank, place) if can_overlap else base for place, base in enumerate(bases)]
    return [regions[rank.index(priority)] for priority in range(num_regions)]


def _grow(rng: random.Random, bases: list[tuple[int, int]], rank: list[int], place: int) -> tuple[int, int]:
    """A region grown over neighbours that win against it, which therefore keep what they own."""
    first, last = bases[place]
    if place and rank[place - 1] < rank[place]:
        first = rng.randint(bases[place - 1][0], first)
    if place + 1 < len(bases) and rank[place + 1] < rank[place]:
        last = rng.randint(last, bases[place + 1][1])
    return first, last


FAMILY = Family(
    name="decoder",
    summary="one-hot and thermometer decoders, address maps",
    draw=draw,
    num_distinct=2 * 2 * 3 * 28 * 4 + 100_000,  # codes, and maps from below
)
