"""Arbiters: fixed priority in any order, locked grants, round robin with a direction, weighted turns."""

import random

from hdl_bench.procedural.clocked import NUM_CLOCKINGS, draw_clocking, headed, if_else
from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, literal, module, outputs

_SIZES = {2: (4, 5, 6), 3: (3, 4, 5, 6), 4: (3, 4, 5, 6, 7, 8), 5: (3, 4, 5, 6)}


def draw(rng: random.Random, level: int) -> Design:
    return _draw_fixed(rng, level) if level <= 3 else _draw_round(rng, level)


def _draw_fixed(rng: random.Random, level: int) -> Design:
    """A fixed order; the grant is registered, and from level 3 on it stays while its request does."""
    size, clocking = rng.choice(_SIZES[level]), draw_clocking(rng, has_both_edges=level == 3)
    order = rng.sample(range(size), size)
    is_locked, has_valid = level == 3, rng.random() < 0.5
    choose = if_else(
        *((f"req[{place}]", f"grant <= {literal(size, 1 << place, 'b')};") for place in order),
        otherwise=f"grant <= {literal(size, 0, 'b')};",
    )
    body = if_else(("!(grant & req)", choose)) if is_locked else choose
    tail = "\nassign busy = grant != 0;" if has_valid else ""
    ports = clocking.ports + inputs(req=size) + outputs(grant=size) + (outputs(busy=1) if has_valid else ())
    chain = " > ".join(f"req[{place}]" for place in order)
    keeps = (
        " A granted requester keeps its grant for as long as its request is 1 at the clock edges, whatever the others "
        "ask for; a new choice is made at an edge at which there is no grant or the granted request is 0."
        if is_locked
        else ""
    )
    busy = " busy is combinational: 1 exactly when grant is not zero." if has_valid else ""
    return Design(
        params={**clocking.params, "kind": "fixed", "order": ",".join(map(str, order)), "locked": int(is_locked)}
        | {"busy": int(has_valid)},
        ports=ports,
        descriptions=clocking.describe(
            "grant to all zeros",
            (
                f"grant is a register with at most one bit set. At every other clock edge it is set to grant the "
                f"request (bit of req that is 1) that comes first in the order of priority {chain}, highest first; "
                f"grant[i] answers req[i]. Without any request grant becomes zero.{keeps}{busy}",
                f"Otherwise grant <= one-hot of the highest request, {chain}; no request: 0.{keeps}{busy}",
                f"{size} clients ask with req and are answered by the bit of grant at the same place, one at a time, "
                f"from a register. Of several clients the one standing first in the list "
                f"{', '.join(map(str, order))} is chosen; with none asking, none is granted.{keeps}{busy}",
            ),
        ),
        golden=module(ports, clocking.always(f"grant <= {literal(size, 0, 'b')};", body) + tail, registers=("grant",)),
        protocol=clocking.protocol(),
    )


def _draw_round(rng: random.Random, level: int) -> Design:
    """Round robin: the search starts after (or before) the last one granted; level 5 gives each several turns."""
    size, clocking = rng.choice(_SIZES[level]), draw_clocking(rng, has_both_edges=True)
    step, first = rng.choice((1, -1)), rng.randrange(size)
    weights = [rng.randint(1, 3) for _ in range(size)] if level == 5 else [1] * size
    is_weighted, has_enable = len(set(weights)) > 1 or weights[0] > 1, rng.random() < 0.5
    bits = (size - 1).bit_length()
    following = f"at == {size - 1} ? 0 : at + 1" if step == 1 else f"at == 0 ? {size - 1} : at - 1"
    search = (
        f"next = {literal(size, 0, 'b')};\nnext_last = last;\nat = last;\n"
        f"for (i = 0; i < {size}; i = i + 1) begin\n  at = {following};\n"
        f"  if (next == 0 && req[at]) begin\n    next[at] = 1;\n    next_last = at;\n  end\nend"
    )
    declared = f"reg [{bits - 1}:0] last, next_last, at;\nreg [{size - 1}:0] next;\ninteger i;\n"
    update = "grant <= next;\nlast <= next_last;"
    resets = f"grant <= {literal(size, 0, 'b')};\nlast <= {literal(bits, first)};"
    if is_weighted:
        # With turns left, the last one granted goes on if it asks; else the search runs and loads its turns.
        turns = "\n".join(f"  {literal(bits, place)}: turns = {weight - 1};" for place, weight in enumerate(weights))
        declared += (
            f"reg [1:0] left, turns;\nalways @(*)\n  case (next_last)\n  {turns.replace(chr(10), chr(10) + '  ')}\n"
        )
        declared += "    default: turns = 0;\n  endcase\n"
        again = f"grant <= {literal(size, 1)} << last;\nleft <= left - 1;"
        update = if_else(("left != 0 && req[last]", again), otherwise=f"{update}\nleft <= next == 0 ? 0 : turns;")
        resets += "\nleft <= 0;"
    body = declared + headed("always @(*)", search) + "\n"
    body += clocking.always(resets, if_else(("en", update)) if has_enable else update)
    ports = clocking.ports + (inputs(en=1) if has_enable else ()) + inputs(req=size) + outputs(grant=size)
    return Design(
        params={
            **clocking.params,
            "kind": "round",
            "size": size,
            "step": step,
            "first": first,
            "enable": int(has_enable),
        }
        | {"weights": ",".join(map(str, weights))},
        ports=ports,
        descriptions=clocking.describe(
            f"grant to all zeros and the internal number last to {first}",
            _round_words(size, step, weights if is_weighted else None, has_enable),
        ),
        golden=module(ports, body, registers=("grant",)),
        protocol=clocking.protocol(rare_low=("en",) if has_enable else ()),
    )


def _round_words(size: int, step: int, weights: list[int] | None, has_enable: bool) -> tuple[str, str, str]:
    way = "upwards, last + 1 first and 0 after " + str(size - 1)
    if step == -1:
        way = f"downwards, last - 1 first and {size - 1} after 0"
    edge = "clock edge with en = 1" if has_enable else "clock edge"
    idle = " At edges with en = 0 grant and the internal state keep their values." if has_enable else ""
    turns = ""
    if weights:
        turns = (
            f" A requester found by a search gets up to as many grants in a row as its weight (from request 0 on: "
            f"{', '.join(map(str, weights))}): while it has had fewer since that search and its request is still 1, it "
            "is granted again without a search. If its request is 0, the rest of its turns is lost and the search runs."
        )
    return (
        f"grant is a register with at most one bit set. At every other {edge} the requests are searched {way}, ending "
        f"with last itself; the first i with req[i] = 1 is granted (only grant[i] is 1) and becomes last. If no "
        f"bit of req is 1, grant becomes zero and last keeps its value.{turns}{idle}",
        f"Otherwise, each {edge}: round robin over req, search {way}, last itself at the end. Hit i: grant <= 1 << i, "
        f"last <= i. No request: grant <= 0, last holds.{turns}{idle}",
        f"{size} clients ask with the bits of req and take turns. last remembers who was served most recently, and "
        f"each {edge} serves the first client that asks, looking {way} and, if nobody else asks, at last again. "
        f"Serving client i makes grant one-hot at bit i and last = i; without requests grant is zero and "
        f"last stays.{turns}{idle}",
    )


def _num_distinct() -> int:
    num_fixed = (24 + 120 + 720) * (NUM_CLOCKINGS // 2) * 2 + (6 + 24 + 120 + 720) * NUM_CLOCKINGS * 2
    num_round = sum(_SIZES[4]) * NUM_CLOCKINGS * 2 * 2
    num_weighted = sum(size * (3**size - 1) for size in _SIZES[5]) * NUM_CLOCKINGS * 2 * 2
    return num_fixed + num_round + num_weighted


FAMILY = Family(
    name="arbiter",
    summary="arbiters: fixed priority, locked, round robin, weighted",
    draw=draw,
    num_distinct=_num_distinct(),
    levels=(2, 3, 4, 5),
)
