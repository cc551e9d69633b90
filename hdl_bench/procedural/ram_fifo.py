"""FIFOs and stacks: any depth, flags and thresholds, and what a push into a full one does."""

import random

from hdl_bench.procedural.clocked import NUM_CLOCKINGS, draw_clocking, if_else
from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, literal, module, outputs

_DEPTHS = {3: (2, 4, 8), 4: (3, 4, 5, 6, 7, 8), 5: (3, 4, 5, 6, 7, 8)}
_WIDTHS = (*range(1, 17),)
_POLICIES = {  # what a push into a full buffer does -> words
    "ignore": "a push into a full buffer is ignored, even if there is a pop at the same clock edge (the pop is done)",
    "swap": "a push into a full buffer is done if there is a pop at the same clock edge, and ignored otherwise",
    "overwrite": "a push into a full buffer is always done: without a pop at the same clock edge the oldest word "
    "is lost for it, with a pop nothing is lost but the popped word",
}


def draw(rng: random.Random, level: int) -> Design:
    depth, width = rng.choice(_DEPTHS[level]), rng.choice(_WIDTHS)
    clocking = draw_clocking(rng, has_both_edges=level >= 4)
    kind = rng.choice(("fifo", "stack")) if level <= 4 else "fifo"
    policies = {"stack": ("swap",), "fifo": ("ignore", "swap")}[kind] if level <= 4 else ("swap", "overwrite", "ignore")
    policy, idle = rng.choice(policies), rng.randrange(1 << width)
    high, low = (rng.randint(2, depth), rng.randint(1, depth - 1)) if level >= 4 else (depth, 0)
    flags = outputs(full=1, empty=1) if level == 3 else outputs(high=1, low=1)
    has_count = level == 5
    bits = depth.bit_length()
    ports = clocking.ports + inputs(push=1, pop=1, d=width) + outputs(q=width) + flags
    ports += outputs(count=bits) if has_count else ()
    make = _fifo if kind == "fifo" else _stack
    declared, step = make(depth, width, policy)
    q = f"count == 0 ? {literal(width, idle)} : " + ("mem[rd]" if kind == "fifo" else "mem[count - 1]")
    names = [port.name for port in flags]
    tests = (f"count == {depth}", "count == 0") if level == 3 else (f"count >= {high}", f"count <= {low}")
    lines = [*([] if has_count else [f"reg [{bits - 1}:0] count;"]), *declared]
    lines.append(clocking.always("rd <= 0;\nwr <= 0;\ncount <= 0;" if kind == "fifo" else "count <= 0;", step))
    lines += [f"assign q = {q};", *(f"assign {name} = {test};" for name, test in zip(names, tests, strict=True))]
    if level == 3:
        told = f"full is 1 exactly when there are {depth} words, empty when there is none"
    else:
        told = f"high is 1 exactly when there are {high} words or more, low when there are {low} or fewer"
    told += ", and count is their number" if has_count else ""
    return Design(
        params={**clocking.params, "kind": kind, "depth": depth, "width": width, "policy": policy, "idle": idle}
        | {"high": high, "low": low, "count": int(has_count), "flags": ",".join(names)},
        ports=ports,
        descriptions=clocking.describe("the buffer to empty", _words(kind, depth, _rules(kind, policy), idle, told)),
        golden=module(ports, "\n".join(lines), registers=("count",) if has_count else ()),
        protocol=clocking.protocol(min_cycles=60 * depth),
    )


def _fifo(depth: int, width: int, policy: str) -> tuple[list[str], str]:
    """Declarations and the statements of a clock edge; two pointers and a count."""
    bits, room = (depth - 1).bit_length(), f"count != {depth}"
    accepted = {"ignore": f"push && {room}", "swap": f"push && ({room} || do_pop)", "overwrite": "push"}[policy]
    vector, pointer = (f"[{width - 1}:0] " if width > 1 else ""), (f"[{bits - 1}:0] " if bits > 1 else "")
    declared = [f"reg {vector}mem [0:{depth - 1}];", f"reg {pointer}rd, wr;", "wire do_pop = pop && count != 0;"]
    declared.append(f"wire do_push = {accepted};")
    leaves = "do_pop"
    if policy == "overwrite":
        declared.append(f"wire do_drop = push && !do_pop && count == {depth};")
        leaves = "do_pop || do_drop"
    advance = "{0} <= {0} == " + str(depth - 1) + " ? 0 : {0} + 1;"
    step = if_else(("do_push", f"mem[wr] <= d;\n{advance.format('wr')}")) + "\n"
    step += if_else((leaves, advance.format("rd"))) + "\n"
    drop = " - do_drop" if policy == "overwrite" else ""
    return declared, step + f"count <= count + do_push - do_pop{drop};"


def _stack(depth: int, width: int, policy: str) -> tuple[list[str], str]:
    """The same for a stack, whose top a push with a pop replaces."""
    assert policy == "swap", policy
    vector = f"[{width - 1}:0] " if width > 1 else ""
    push = if_else((f"count != {depth}", "mem[count] <= d;\ncount <= count + 1;"))
    step = if_else(
        ("push && pop && count != 0", "mem[count - 1] <= d;"),
        ("push", push),
        ("pop && count != 0", "count <= count - 1;"),
    )
    return [f"reg {vector}mem [0:{depth - 1}];"], step


def _rules(kind: str, policy: str) -> str:
    if kind == "fifo":
        return _POLICIES[policy] + "; a pop of an empty buffer is ignored (a push at the same clock edge is done)"
    return (
        "a push and a pop at the same clock edge replace the top word by d (on an empty stack such an edge just "
        "pushes); a push alone into a full stack and a pop of an empty one are ignored"
    )


def _words(kind: str, depth: int, rules: str, idle: int, told: str) -> tuple[str, str, str]:
    name, first = ("FIFO", "oldest") if kind == "fifo" else ("stack (last in, first out)", "newest")
    return (
        f"The module is a {name} for up to {depth} words. At every other clock edge push = 1 stores d and pop = 1 "
        f"removes the {first} word. Rules: {rules}. The outputs are combinational functions of the stored words: q is "
        f"the {first} word, or {idle} (decimal) when there is none; {told}.",
        f"Otherwise a {depth}-word {name}: push stores d, pop removes the {first} word; {rules}. Show-ahead output: q "
        f"= {first} word, {idle} if empty; {told}.",
        f"Words wait in a buffer that holds {depth} of them and works as a {name}. A clock edge with push high puts d "
        f"in, one with pop high takes out the {first} word, which q has been showing with no read latency (q is {idle} "
        f"while the buffer is empty). In detail: {rules}. As to the other outputs, {told}.",
    )


def _num_distinct() -> int:
    idle = sum(1 << width for width in _WIDTHS)
    num_plain = idle * 3 * (NUM_CLOCKINGS // 2) * 3
    num_flagged = idle * NUM_CLOCKINGS * sum((depth - 1) ** 2 for depth in _DEPTHS[5]) * 3
    return num_plain + num_flagged


FAMILY = Family(
    name="ram_fifo",
    summary="FIFOs and stacks with flags, thresholds and overflow rules",
    draw=draw,
    num_distinct=_num_distinct(),
    levels=(3, 4, 5),
)
