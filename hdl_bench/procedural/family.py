"""What a procedural family is, and how its draws become problems.

A family is one small file that draws designs: a specification, the golden Verilog and the protocol from one set of
parameters. The parameters alone make a design distinct (names and wording do not), and the split is a hash of them:
a held-out problem's parameters never occur in training, whatever the seed.
"""

import hashlib
import json
import random
from collections.abc import Callable
from dataclasses import dataclass

from verifiers.types import Port, Problem, Protocol, ReferenceOracle

SPLITS = {"train": range(0, 80), "heldout": range(80, 100)}  # buckets of the hash, per cent
LEVELS = (1, 2, 3, 4, 5)  # easy to hard


@dataclass(frozen=True, kw_only=True, slots=True)
class Design:
    """One draw of a family."""

    params: dict[str, int | str]  # what makes it distinct; JSON-able, canonical (no two spellings of one behaviour)
    ports: tuple[Port, ...]  # inputs and outputs of TopModule in the order of the header
    descriptions: tuple[str, ...]  # phrasings of one behaviour, at least three; no port list
    golden: str  # Verilog-2005 or SystemVerilog that Icarus 11 takes; defines TopModule
    protocol: Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """A seeded generator of designs. `draw(rng, level)` uses no other source of chance."""

    name: str  # the file's name
    summary: str  # one line for `earl problems list`
    draw: Callable[[random.Random, int], Design]
    num_distinct: int  # distinct `params` over all levels, a lower bound
    levels: tuple[int, ...] = LEVELS


def design_key(family: str, params: dict[str, int | str]) -> str:
    """A stable 12-digit hex name of a design: family and parameters, nothing else."""
    canonical = json.dumps([family, params], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:12]


def split_of(key: str) -> str:
    """The split that a design key belongs to, always the same."""
    bucket = int(key[:8], 16) % 100
    return next(name for name, buckets in SPLITS.items() if bucket in buckets)


def render_prompt(ports: tuple[Port, ...], description: str) -> str:
    """The prompt in VerilogEval v2's spec-to-rtl form."""
    lines = [
        "",
        "I would like you to implement a module named TopModule with the following",
        "interface. All input and output ports are one bit unless otherwise",
        "specified.",
        "",
    ]
    for port in ports:
        width = f" ({port.width} bits)" if port.width > 1 else ""
        lines.append(f" - {port.direction:<6} {port.name}{width}")
    return "\n".join([*lines, "", description.strip(), ""])


def to_problem(family: Family, design: Design, level: int, phrasing: int) -> Problem:
    """The problem that a design and one of its phrasings make."""
    key = design_key(family.name, design.params)
    return Problem(
        problem_id=f"{family.name}-{key}-{phrasing}",
        source="procedural",
        prompt=render_prompt(design.ports, design.descriptions[phrasing]),
        top_module="TopModule",
        ports=design.ports,
        oracle=ReferenceOracle(golden=design.golden, golden_top="TopModule", protocol=design.protocol),
        family=family.name,
        difficulty=level,
    )
