"""Read-only memories: constant tables behind an address, registered, with enables, latencies and two read ports."""

import random
from itertools import pairwise

from hdl_bench.procedural.clocked import Clocking, case, draw_clocking, if_else, indented
from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, literal, module, outputs

_SHAPES = {1: (2, (2, 3, 4)), 2: (2, (3, 4, 5, 8)), 3: (3, (3, 4, 6, 8)), 4: (3, (4, 6, 8)), 5: (4, (6, 8))}


def draw(rng: random.Random, level: int) -> Design:
    address_width, widths = _SHAPES[level]
    width, clocking = rng.choice(widths), draw_clocking(rng, has_both_edges=level >= 3)
    entries = [rng.randrange(1 << width) for _ in range(1 << address_width)]
    if len(set(entries)) == 1:  # the address would say nothing
        entries[-1] ^= 1
    if level == 5:
        return _two_ports(rng, clocking, width, entries)
    start = rng.randrange(1 << width) if level >= 2 else 0
    latency, active = rng.choice((2, 3)) if level == 4 else 1, rng.choice((0, 1)) if level >= 2 else None
    chain = [*(f"early{number}" for number in range(1, latency)), "q"]
    table = case(
        "addr",
        [
            (literal(address_width, code), f"{chain[0]} <= {literal(width, entry)};")
            for code, entry in enumerate(entries)
        ],
    )
    moves = "\n".join([table, *(f"{new} <= {old};" for old, new in pairwise(chain))])
    resets = "\n".join(f"{name} <= {literal(width, start)};" for name in chain)
    declared = f"reg [{width - 1}:0] {', '.join(chain[:-1])};\n" if latency > 1 else ""
    body = moves if active is None else if_else(("en" if active else "!en", moves))
    ports = clocking.ports + (() if active is None else inputs(en=1)) + inputs(addr=address_width) + outputs(q=width)
    params = {"width": width, "entries": ",".join(map(str, entries)), "start": start, "latency": latency}
    return Design(
        params={**clocking.params, **params, "enable": -1 if active is None else active},
        ports=ports,
        descriptions=clocking.describe(
            "q" + (" and all registers before it" if latency > 1 else "") + f" to {start}",
            _words(entries, latency, active),
        ),
        golden=module(ports, declared + clocking.always(resets, body), registers=("q",)),
        protocol=clocking.protocol(),
    )


def _words(entries: list[int], latency: int, active: int | None) -> tuple[str, str, str]:
    grid = "\n".join(f"  {address} | {entry}" for address, entry in enumerate(entries))
    pairs = ", ".join(f"{address}: {entry}" for address, entry in enumerate(entries))
    row = ", ".join(map(str, entries))
    edge = "clock edge" if active is None else f"clock edge with en = {active}"
    idle = "" if active is None else f" With en = {1 - active} all registers keep their values."
    if latency == 1:
        return (
            f"At every other {edge} q takes the entry of this table (decimal) that addr selects.{idle}\n\n"
            f"  addr | q\n{grid}",
            f"Otherwise, each {edge}: q <= table[addr], {{{pairs}}} (decimal).{idle}",
            f"It is a small read-only memory with a register at its output: each {edge} puts the word at address addr "
            f"in q. From address 0 on, the words are, in decimal, {row}.{idle}",
        )
    return (
        f"The entry of this table (decimal) that addr selects goes through {latency} registers in a row, the last of "
        f"which is q: at every other {edge} the first takes the entry and each other the value of the one before."
        f"{idle}\n\n  addr | entry\n{grid}",
        f"Otherwise, each {edge}: table[addr] enters a chain of {latency} registers that ends in q; table = "
        f"{{{pairs}}} (decimal).{idle}",
        f"It is a read-only memory whose word comes out at q {latency} clock edges after its address was given, "
        f"counting the edge that samples addr as the first, because {latency} registers follow one another. They all "
        f"move on at each {edge}.{idle} From address 0 on, the words are, in decimal, {row}.",
    )


def _two_ports(rng: random.Random, clocking: Clocking, width: int, entries: list[int]) -> Design:
    """Two read ports of one table; the second scrambles its address and has a register more."""
    bits = (len(entries) - 1).bit_length()
    mask, start, active = rng.randrange(1, len(entries)), rng.randrange(1 << width), rng.choice((0, 1))
    reset, enabled = literal(width, start), "en_b" if active else "!en_b"
    rows = [(literal(bits, code), f"word = {literal(width, entry)};") for code, entry in enumerate(entries)]
    body = "\n".join(
        (
            f"function [{width - 1}:0] word(input [{bits - 1}:0] addr);",
            indented(case("addr", rows)),
            "endfunction",
            f"reg [{width - 1}:0] early;",
            clocking.always(
                f"qa <= {reset};\nqb <= {reset};\nearly <= {reset};",
                "qa <= word(addr_a);\n"
                + if_else((enabled, f"early <= word(addr_b ^ {literal(bits, mask, 'b')});\nqb <= early;")),
            ),
        )
    )
    grid = "\n".join(f"  {address} | {entry}" for address, entry in enumerate(entries))
    pairs = ", ".join(f"{address}: {entry}" for address, entry in enumerate(entries))
    scrambled = f"addr_b XOR {literal(bits, mask, 'b')}"
    ports = clocking.ports + inputs(addr_a=bits, en_b=1, addr_b=bits) + outputs(qa=width, qb=width)
    return Design(
        params={**clocking.params, "width": width, "entries": ",".join(map(str, entries)), "start": start}
        | {"mask": mask, "enable": active},
        ports=ports,
        descriptions=clocking.describe(
            f"qa, qb and the register before qb to {start}",
            (
                f"The table below (decimal) has two read ports. At every other clock edge qa takes the entry at "
                f"addr_a. At those with en_b = {active} also an internal register takes the entry at {scrambled} and "
                f"qb takes the value that this register had before the edge; with en_b = {1 - active} both keep their "
                f"values.\n\n  address | entry\n{grid}",
                f"Otherwise qa <= table[addr_a]; and if en_b = {active}: early <= table[{scrambled}] and qb <= early, "
                f"else both hold. table = {{{pairs}}} (decimal).",
                f"Two readers share a read-only memory whose words from address 0 on are, in decimal, "
                f"{', '.join(map(str, entries))}. Reader a is simple: each clock edge puts the word at addr_a in qa. "
                f"Reader b moves only at edges with en_b {'high' if active else 'low'}; it looks at address "
                f"{scrambled}, and its word passes through one internal register before it comes to qb, so that it "
                "shows at the second such edge.",
            ),
        ),
        golden=module(ports, body, registers=("qa", "qb")),
        protocol=clocking.protocol(),
    )


FAMILY = Family(
    name="memory_lookup",
    summary="read-only tables with registers, enables, latencies and two ports",
    draw=draw,
    # Tables of two address bits, in level 1 behind 4 reset styles; of three in level 3, with 8 and an enable.
    num_distinct=4 * (4**4 + 8**4 + 16**4) + 16 * 8**8,
)
