"""Linear-feedback shift registers: Fibonacci and Galois, XOR and XNOR, taps, seeds, several steps a clock edge."""

import random
from collections.abc import Callable

from hdl_bench.procedural.clocked import NUM_CLOCKINGS, Clocking, draw_clocking, headed, if_else
from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, listing, literal, module, outputs

_WIDTHS = {1: (4, 5, 6, 7, 8), 2: (4, 5, 6, 7, 8, 9), 3: (4, 5, 6, 7, 8), 4: (5, 6, 7, 8, 9), 5: (6, 7, 8, 10, 12)}
_MAX_DRAWS = 10_000


def draw(rng: random.Random, level: int) -> Design:
    if level == 3 or (level >= 4 and rng.random() < 0.5):
        return _draw_galois(rng, level)
    return _draw_fibonacci(rng, level)


def _spans(width: int, seed: int, step: Callable[[int], int], num_steps: int) -> bool:
    """Whether the states from the seed on span the space, so that no other affine step gives the same sequence."""
    basis, state = [], seed
    for _ in range(4 * width):
        vector = state << 1 | 1
        for row in basis:
            vector = min(vector, vector ^ row)
        if vector:
            basis.append(vector)
        for _ in range(num_steps):
            state = step(state)
    return len(basis) == width + 1


def _draw_fibonacci(rng: random.Random, level: int) -> Design:
    """The feedback bit enters at one end."""
    clocking, width = draw_clocking(rng, has_both_edges=level >= 2), rng.choice(_WIDTHS[level])
    direction = "left" if level == 1 else rng.choice(("left", "right"))
    is_xnor = level >= 4 and rng.random() < 0.5
    # With an odd number of taps no orbit spans the space.
    num_taps = 2 if level == 1 else rng.choice((2, 4))
    num_steps = _draw_num_steps(rng, level)
    out_bit = width - 1 if direction == "left" else 0
    for _ in range(_MAX_DRAWS):
        taps = sorted(rng.sample(range(width), num_taps), reverse=True)
        seed = rng.randrange(1, (1 << width) - 1)

        def step(state: int, taps: list[int] = taps) -> int:
            bit = (sum(state >> tap & 1 for tap in taps) & 1) ^ is_xnor
            if direction == "left":
                return (state << 1 & (1 << width) - 1) | bit
            return state >> 1 | bit << (width - 1)

        # The bit that leaves is a tap, so that the step is a permutation.
        if out_bit in taps and _spans(width, seed, step, num_steps):
            break
    else:
        raise AssertionError(f"no spanning register of {width} bits in {_MAX_DRAWS} draws")
    feedback = " ^ ".join(f"q[{tap}]" for tap in taps)
    feedback = f"~({feedback})" if is_xnor else feedback
    following = f"{{q[{width - 2}:0], {feedback}}}" if direction == "left" else f"{{{feedback}, q[{width - 1}:1]}}"
    name = "XNOR (the complement of the XOR)" if is_xnor else "XOR"
    bits = listing([f"q[{tap}]" for tap in taps])
    place = "q[0]" if direction == "left" else f"q[{width - 1}]"
    words = f"shifts {direction} by one, and the {name} of the old {bits} enters at {place}"
    params = {"kind": "fibonacci", "taps": ",".join(map(str, taps)), "direction": direction, "xnor": int(is_xnor)}
    params |= {"width": width, "seed": seed, "steps": num_steps}
    return _design(rng, level, clocking, params, (following, words))


def _draw_galois(rng: random.Random, level: int) -> Design:
    """The bit that leaves is put in at one end and XORed into the tapped places."""
    clocking, width = draw_clocking(rng, has_both_edges=level >= 2), rng.choice(_WIDTHS[level])
    direction = rng.choice(("left", "right"))
    num_steps = _draw_num_steps(rng, level)
    end = 1 if direction == "left" else 1 << (width - 1)  # where the bit that left comes in
    for _ in range(_MAX_DRAWS):
        mask, seed = rng.randrange(1, 1 << width) | end, rng.randrange(1, (1 << width) - 1)

        def step(state: int, mask: int = mask) -> int:
            if direction == "left":
                return (state << 1 & (1 << width) - 1) ^ (mask if state >> (width - 1) else 0)
            return state >> 1 ^ (mask if state & 1 else 0)

        if mask != end and _spans(width, seed, step, num_steps):
            break
    else:
        raise AssertionError(f"no spanning register of {width} bits in {_MAX_DRAWS} draws")
    constant = literal(width, mask, "b")
    shifted = f"{{q[{width - 2}:0], 1'b0}}" if direction == "left" else f"{{1'b0, q[{width - 1}:1]}}"
    leaving = f"q[{width - 1}]" if direction == "left" else "q[0]"
    following = f"{shifted} ^ ({leaving} ? {constant} : {literal(width, 0)})"
    words = (
        f"shifts {direction} by one, filling with 0, and if the old {leaving} was 1 the result is XORed with {constant}"
    )
    params = {"kind": "galois", "mask": mask, "direction": direction, "width": width, "seed": seed}
    params |= {"steps": num_steps}
    return _design(rng, level, clocking, params, (following, words))


def _draw_num_steps(rng: random.Random, level: int) -> int:
    return rng.choice((2, 3, 4, 5)) if level == 5 else 1


def _design(
    rng: random.Random, level: int, clocking: Clocking, params: dict[str, int | str], step: tuple[str, str]
) -> Design:
    """Levels 2 and 3 add an enable, level 4 a load that avoids the dead state, level 5 several steps an edge."""
    following, words = step
    width, start = params["width"], literal(params["width"], params["seed"], "b")
    dead = literal(width, (1 << width) - 1 if params.get("xnor") else 0)
    extra, before, move, tail, declared = (), "At every other clock edge q", f"q <= {following};", "", ""
    if level in (2, 3):
        active = rng.choice((1, 0))
        params, extra = params | {"enable": active}, inputs(en=1)
        move = if_else(("en" if active else "!en", move))
        before, tail = f"At every other clock edge with en = {active} q", f" With en = {1 - active} it keeps its value."
    elif level == 4:
        params, extra = params | {"load": 1}, inputs(load=1, d=width)
        move = if_else(("load", f"q <= d == {dead} ? {start} : d;"), otherwise=move)
        before, tail = (
            "At every other clock edge with load = 0 q",
            f" With load = 1 it takes d, or {start} if d is {dead}.",
        )
    elif level == 5:
        num_steps, move = params["steps"], "q <= next;"
        looped = following.replace("q[", "next[")
        declared = f"reg [{width - 1}:0] next;\ninteger i;\n" + headed(
            "always @(*)", f"next = q;\nfor (i = 0; i < {num_steps}; i = i + 1)\n  next = {looped};"
        )
        before, tail = "One step is this: q", f" At every other clock edge q makes {num_steps} such steps at once."
    ports = clocking.ports + extra + outputs(q=width)
    return Design(
        params={**clocking.params, **params},
        ports=ports,
        descriptions=clocking.describe(
            f"q to {start}",
            (
                f"q is a linear-feedback shift register. {before} {words}.{tail}",
                f"{before} {words}.{tail}",
                f"The module makes pseudo-random numbers of {width} bits in q by shifting and feeding back. {before} "
                f"{words}.{tail}",
            ),
        ),
        golden=module(ports, f"{declared}\n{clocking.always(f'q <= {start};', move)}", registers=("q",)),
        protocol=clocking.protocol(rare_high=("load",) if level == 4 else ()),
    )


FAMILY = Family(
    name="lfsr",
    summary="linear-feedback shift registers, Fibonacci and Galois",
    draw=draw,
    # Level 1 has 3 to 7 pairs of taps and 14 to 254 seeds in 4 reset styles, and about half of the pairs span; the
    # Galois masks of level 3 are one in two of their space by the same measure.
    num_distinct=sum((width - 1) * ((1 << width) - 2) for width in _WIDTHS[1]) * NUM_CLOCKINGS // 4
    + sum(((1 << (width - 1)) - 1) * ((1 << width) - 2) for width in _WIDTHS[3]) * NUM_CLOCKINGS,
)
