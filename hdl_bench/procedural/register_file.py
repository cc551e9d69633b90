"""Register files: one write port, one or two read ports, a constant register, bypass, lane-wise writes."""

import random

from hdl_bench.procedural.clocked import NUM_CLOCKINGS, Clocking, draw_clocking, if_else
from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, literal, module, outputs

_WIDTHS = (4, 5, 6, 7, 8)
_LANES = ((2, 3), (2, 4), (3, 3), (2, 8), (4, 2), (3, 4))  # number and width of the lanes


def draw(rng: random.Random, level: int) -> Design:
    """Level 3 has read port a, level 4 and 5 also the registered b; level 5 writes lanes."""
    clocking, bits = draw_clocking(rng, has_both_edges=level >= 4), rng.choice((2, 3))
    num_lanes, lane = rng.choice(_LANES) if level == 5 else (1, rng.choice(_WIDTHS))
    width, has_second = num_lanes * lane, level >= 4
    fixed, constant, start = rng.randrange(1 << bits), rng.randrange(1 << width), rng.randrange(1 << width)
    is_new_at_a, is_new_at_b = rng.random() < 0.5, has_second and rng.random() < 0.5
    reads = inputs(raddr_a=bits, raddr_b=bits) if has_second else inputs(raddr_a=bits)
    ports = clocking.ports + inputs(we=num_lanes, waddr=bits, wdata=width) + reads
    ports += outputs(qa=width, qb=width) if has_second else outputs(qa=width)
    params = {"bits": bits, "num_lanes": num_lanes, "lane": lane, "fixed": fixed, "constant": constant, "start": start}
    params |= {"new_at_a": int(is_new_at_a), "new_at_b": int(is_new_at_b), "second": int(has_second)}
    return Design(
        params={**clocking.params, **params},
        ports=ports,
        descriptions=clocking.describe(
            f"all registers {'and qb ' if has_second else ''}to {start}", _words(params, width)
        ),
        golden=module(ports, _body(clocking, params, width), registers=("qb",) if has_second else ()),
        protocol=clocking.protocol(min_cycles=200),
    )


def _body(clocking: Clocking, params: dict[str, int | str], width: int) -> str:
    bits, num_lanes, lane = params["bits"], params["num_lanes"], params["lane"]
    depth, start = 1 << bits, literal(width, params["start"])
    fixed, constant = literal(bits, params["fixed"]), literal(width, params["constant"])
    word = "wdata"
    lines = [f"reg [{width - 1}:0] file [0:{depth - 1}];", "integer i;"]
    if num_lanes > 1:
        cuts = [f"{(place + 1) * lane - 1}:{place * lane}" for place in reversed(range(num_lanes))]
        parts = [
            f"we[{place}] ? wdata[{cut}] : old[{cut}]"
            for place, cut in zip(reversed(range(num_lanes)), cuts, strict=True)
        ]
        word = "merged"
        lines += [f"wire [{width - 1}:0] old = file[waddr];"]
        lines += [f"wire [{width - 1}:0] merged = {{{', '.join(parts)}}};"]
    writes = "we" if num_lanes == 1 else "we != 0"
    new_a = f"{writes} && waddr == raddr_a ? {word} : " if params["new_at_a"] else ""
    new_b = f"{writes} && waddr == raddr_b ? {word} : " if params["new_at_b"] else ""
    lines.append(f"assign qa = raddr_a == {fixed} ? {constant} : {new_a}file[raddr_a];")
    resets = f"for (i = 0; i < {depth}; i = i + 1)\n  file[i] <= {start};"
    step = if_else((writes, f"file[waddr] <= {word};"))
    if params["second"]:
        resets += f"\nqb <= {start};"
        step += f"\nqb <= raddr_b == {fixed} ? {constant} : {new_b}file[raddr_b];"
    return "\n".join([*lines, clocking.always(resets, step)])


def _words(params: dict[str, int | str], width: int) -> tuple[str, str, str]:
    depth, num_lanes, lane = 1 << params["bits"], params["num_lanes"], params["lane"]
    write = "if we is 1, wdata is written to register waddr"
    if num_lanes > 1:
        write = (
            f"wdata is written to register waddr in the lanes selected by we: a word has {num_lanes} lanes of {lane} "
            f"bits, we[0] is for bits {lane - 1} to 0 and so on, and lanes with a 0 in we keep their bits"
        )
    special = f"register {params['fixed']} always reads as {params['constant']} (decimal), whatever was written"
    fresh = "the word as this write leaves it"
    at_a = (
        f"while the inputs ask to write the register that is being read (also during reset), qa is {fresh}"
        if params["new_at_a"]
        else "a write shows in qa only after its clock edge"
    )
    port_b = ""
    if params["second"]:
        what = fresh if params["new_at_b"] else "the word from before the write"
        port_b = (
            f" Port b is registered: at every other clock edge qb takes the value of register raddr_b; if the same "
            f"edge writes this register, qb takes {what}. The constant register holds for qb too."
        )
    return (
        f"The module is a file of {depth} registers of {width} bits. At every other clock edge {write}. Port a is "
        f"combinational: qa is the value of register raddr_a; {at_a}. Exception: {special}.{port_b}",
        f"Otherwise: {write}. qa = file[raddr_a], combinational; {at_a}. {depth} x {width} bits; {special}.{port_b}",
        f"A processor needs {depth} registers, {width} bits each. Writing happens at clock edges: {write}. Reading "
        f"through port a needs no clock: qa shows register raddr_a, and {at_a}. One register is different: "
        f"{special}.{port_b}",
    )


def _num_distinct() -> int:
    places = 4 + 8
    num_single = sum(1 << (2 * width) for width in _WIDTHS) * places * (NUM_CLOCKINGS // 2) * 2
    num_lanes = sum(1 << (2 * number * lane) for number, lane in _LANES) * places * NUM_CLOCKINGS * 2 * 2
    return num_single + num_lanes


FAMILY = Family(
    name="register_file",
    summary="register files with bypass, constant registers and lane writes",
    draw=draw,
    num_distinct=_num_distinct(),
    levels=(3, 4, 5),
)
