"""Tops built from described parts: instances of one to four submodules wired as a drawn graph, some with a register.

The parameter is a fingerprint of the behaviour (the outputs under a fixed stimulus), so that two graphs which do the
same count as one design.
"""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass

from hdl_bench.procedural.family import Design, Family
from hdl_bench.procedural.verilog import inputs, literal, module, outputs
from verifiers.types import Clock, Protocol, Reset

_JOINS: dict[str, tuple[str, str, Callable[[int, int], int]]] = {  # name -> Verilog, words, value (before wrapping)
    "add": ("p + {q}", "p plus {q}", lambda p, q: p + q),
    "sub": ("p - {q}", "p minus {q}", lambda p, q: p - q),
    "and": ("p & {q}", "the bitwise AND of p and {q}", lambda p, q: p & q),
    "or": ("p | {q}", "the bitwise OR of p and {q}", lambda p, q: p | q),
    "xor": ("p ^ {q}", "the bitwise XOR of p and {q}", lambda p, q: p ^ q),
    "max": ("p > {q} ? p : {q}", "the larger of p and {q}", max),
    "min": ("p < {q} ? p : {q}", "the smaller of p and {q}", min),
}
_NUM_STEPS = 64  # rows of the fingerprint's stimulus
_SHAPES = {2: (1, 2), 3: (2, 3), 4: (3, 4), 5: (4, 6)}  # level -> number of submodules, of instances


@dataclass(frozen=True, kw_only=True, slots=True)
class _Part:
    """A submodule with inputs p and q and output r: a join of p and q changed by a constant (XOR or rotation)."""

    name: str
    width: int
    join: str
    change: str  # "plain" | "xor" | "rotate"
    constant: int

    def value(self, p: int, q: int) -> int:
        full = (1 << self.width) - 1
        if self.change == "xor":
            q ^= self.constant
        elif self.change == "rotate":
            q = (q << self.constant | q >> (self.width - self.constant)) & full
        return _JOINS[self.join][2](p, q) & full

    def words(self) -> str:
        q = {
            "plain": "q",
            "xor": f"(q XOR decimal {self.constant})",
            "rotate": f"(q rotated left by {self.constant})",
        }[self.change]
        return _JOINS[self.join][1].format(q=q)

    def verilog(self) -> str:
        split = self.width - self.constant
        changed = {
            "plain": "q",
            "xor": f"(q ^ {literal(self.width, self.constant)})",
            "rotate": f"{{q[{split - 1}:0], q[{self.width - 1}:{split}]}}",
        }[self.change]
        ports = inputs(p=self.width, q=self.width) + outputs(r=self.width)
        return module(ports, f"assign r = {_JOINS[self.join][0].format(q=changed)};", name=self.name)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Instance:
    """One use of a part: the nets on p and q. With `is_held` its result passes a register before anyone reads it."""

    name: str
    part: _Part
    p: str
    q: str
    is_held: bool


def _draw_parts(rng: random.Random, width: int, num_parts: int) -> list[_Part]:
    parts = []
    for name, join in zip(("mix", "fold", "blend", "weave"), rng.sample(list(_JOINS), num_parts), strict=False):
        change = rng.choice(("plain", "xor", "rotate"))
        constant = {"plain": 0, "xor": rng.randrange(1, 1 << width), "rotate": rng.randrange(1, width)}[change]
        parts.append(_Part(name=name, width=width, join=join, change=change, constant=constant))
    return parts


def _draw_instances(rng: random.Random, level: int, names: tuple[str, ...], parts: list[_Part]) -> list[_Instance]:
    """Instances that read unused nets first, so that everything reaches an output; each part is used."""
    num_instances = _SHAPES[level][1]
    uses = parts + [rng.choice(parts) for _ in range(num_instances - len(parts))]
    rng.shuffle(uses)
    held = rng.randrange(num_instances) if level >= 4 else -1
    unused, nets, instances = list(names), list(names), []
    for place, part in enumerate(uses):
        chosen = rng.sample(unused, min(2, len(unused)))
        chosen += rng.sample([net for net in nets if net not in chosen], 2 - len(chosen))
        rng.shuffle(chosen)
        unused = [net for net in unused if net not in chosen]
        name = f"u{place + 1}"
        instances.append(_Instance(name=name, part=part, p=chosen[0], q=chosen[1], is_held=place == held))
        unused.append(name)
        nets.append(name)
    return instances


def _trace(
    width: int, names: tuple[str, ...], instances: list[_Instance], outs: tuple[str, ...], *, ignored: str = ""
) -> list[list[int]]:
    """The outputs in 64 cycles of fixed random inputs (`ignored` stays 0), registers starting at zero."""
    rng = random.Random(0)
    held = {instance.name: 0 for instance in instances if instance.is_held}
    trace = []
    for _ in range(_NUM_STEPS):
        value = {name: rng.randrange(1 << width) * (name != ignored) for name in names}
        fresh = {}
        for instance in instances:
            result = instance.part.value(value[instance.p], value[instance.q])
            value[instance.name] = held.get(instance.name, result)
            fresh[instance.name] = result
        trace.append([value[out] for out in outs])
        held = {name: fresh[name] for name in held}
    return trace


def draw(rng: random.Random, level: int) -> Design:
    width, num_parts = rng.choice((4, 5, 6, 7, 8, 10, 12, 16)), _SHAPES[level][0]
    names = ("a", "b", "c", "d")[: {2: rng.choice((2, 3)), 3: 3, 4: 3, 5: 4}[level]]
    while True:
        parts = _draw_parts(rng, width, num_parts)
        instances = _draw_instances(rng, level, names, parts)
        outs = (instances[-1].name, instances[-2].name) if level == 5 else (instances[-1].name,)
        trace = _trace(width, names, instances, outs)
        if all(_trace(width, names, instances, outs, ignored=name) != trace for name in names):
            break  # every input matters
    is_clocked = level >= 4
    ports = inputs(**({"clk": 1, "rst": 1} if is_clocked else {}), **dict.fromkeys(names, width))
    ports += outputs(**dict.fromkeys(("y", "z")[: len(outs)], width))
    body = []
    for instance in instances:
        name, target = instance.name, f"{instance.name}_d" if instance.is_held else instance.name
        body.append(f"{'reg' if instance.is_held else 'wire'} [{width - 1}:0] {name};")
        body += [f"wire [{width - 1}:0] {target};"] if instance.is_held else []
        body.append(f"{instance.part.name} {name}_part (.p({instance.p}), .q({instance.q}), .r({target}));")
        if instance.is_held:
            body += [
                "always @(posedge clk)",
                f"  if (rst) {name} <= {literal(width, 0)};",
                f"  else {name} <= {target};",
            ]
    body += [f"assign {port} = {net};" for port, net in zip("yz", outs, strict=False)]
    return Design(
        params={
            "width": width,
            "num_inputs": len(names),
            "is_clocked": int(is_clocked),
            "behaviour": hashlib.sha256(repr(trace).encode()).hexdigest()[:16],
        },
        ports=ports,
        descriptions=_descriptions(width, parts, instances, outs),
        golden="\n".join([module(ports, "\n".join(body)), *(part.verilog() for part in parts)]),
        protocol=Protocol(clocks=(Clock(name="clk"),), resets=(Reset(name="rst"),), rare_high=("rst",))
        if is_clocked
        else Protocol(),
    )


def _descriptions(
    width: int, parts: list[_Part], instances: list[_Instance], outs: tuple[str, ...]
) -> tuple[str, str, str]:
    held = [instance.name for instance in instances if instance.is_held]
    register = ""
    if held:
        register = (
            f" Between {held[0]} and everything that reads it (outputs too) sits a register: it takes {held[0]}'s "
            "result at each rising edge of clk, and while rst (synchronous, active high) is 1 at the edge it takes 0."
        )
    drives = " and ".join(f"{port} shows {net}" for port, net in zip("yz", outs, strict=False))
    kinds = "; ".join(f"{part.name}: r = {part.words()}" for part in parts)
    wires = "; ".join(f"{i.name} is a {i.part.name} with p = {i.p} and q = {i.q}" for i in instances)
    calls = "; ".join(f"{i.name} = {i.part.name}({i.p}, {i.q})" for i in instances)
    full = f"All signals have {width} bits, are unsigned and wrap around."
    return (
        f"Build TopModule from submodules with inputs p and q and an output r. Submodules: {kinds}. {full} Instances: "
        f"{wires}. A name such as u1 stands for the r output of that instance.{register} {drives}. Only the "
        "behaviour at TopModule's ports is checked.",
        f"Definitions with arguments (p, q): {kinds}.\nNetwork: {calls}.\nOutputs: {drives}. {full}{register}",
        f"A design team splits a datapath into {len(parts)} kind{'s' * (len(parts) > 1)} of block. {full} "
        + " ".join(f"A block {part.name} takes p and q and returns {part.words()}." for part in parts)
        + f" In the top level, {wires}, where a block's name stands for what it returns.{register} Finally, {drives}.",
    )


FAMILY = Family(
    name="hierarchy",
    summary="tops built from described submodules",
    draw=draw,
    num_distinct=100_000,  # level 3 alone: 8 widths, 42 pairs of joins, over 100 constants, several graphs
    levels=(2, 3, 4, 5),
)
