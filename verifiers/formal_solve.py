"""Decides a machine: no way to `bad`, or a trace to it, or neither within the deadline.

First the structure alone, then random runs of the graph itself, then ABC: a combinational machine by SAT, a sequential
one by merging equivalent registers and property-directed reachability. A trace is not believed before it is replayed.
"""

import random
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from verifiers.formal_aig import FALSE, aiger
from verifiers.formal_model import Machine

_RANDOM_PATTERNS = 256
_RANDOM_STEPS = 48
_RANDOM_NODE_STEPS = 400_000  # a bound on the work: nodes times steps
_FILE, _TRACE = "machine.aig", "machine.cex"
_MIN_ABC_S = 0.2


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came of a search. `trace` gives each step's variables (None: no way to `bad`, or not decided)."""

    is_decided: bool
    method: str
    reason: str = ""
    trace: tuple[dict[int, int], ...] | None = None  # by step: the value of each variable's literal


def solve(machine: Machine, *, abc: Path, folder: Path, deadline: float, control: dict[int, int]) -> Answer:
    """Search until `deadline` (of time.monotonic). `control` gives the usual value of variables that are rarely else."""
    if machine.bad == FALSE:
        return Answer(is_decided=True, method="structure")
    trace = _random_search(machine, deadline, control)
    if trace is not None:
        return Answer(is_decided=True, method="random simulation", trace=trace)
    return _ask_abc(machine, abc, folder, deadline)


def _random_search(machine: Machine, deadline: float, control: dict[int, int]) -> tuple[dict[int, int], ...] | None:
    """Random runs, many at once. Seeded: the same machine gives the same answer."""
    aig, rng, mask = machine.aig, random.Random(1), (1 << _RANDOM_PATTERNS) - 1
    num_steps = _RANDOM_STEPS if machine.latches else 4
    num_steps = max(4, min(num_steps, _RANDOM_NODE_STEPS // max(len(aig.fanins), 1)))
    state = dict.fromkeys((variable for variable, _ in machine.latches), 0)
    drawn: list[dict[int, int]] = []
    for _ in range(num_steps):
        if time.monotonic() > deadline:
            return None
        inputs = {variable: _draw(rng, control.get(variable)) for variable in machine.variables}
        drawn.append(inputs)
        words = aig.simulate(state | inputs, mask)
        bad = _word(words, machine.bad, mask)
        if bad:
            pattern = (bad & -bad).bit_length() - 1
            return tuple({variable: word >> pattern & 1 for variable, word in step.items()} for step in drawn)
        state = {variable: _word(words, following, mask) for variable, following in machine.latches}
    return None


def _draw(rng: random.Random, usual: int | None) -> int:
    """Random bits; where a value is usual, the other in one of eight."""
    word = rng.getrandbits(_RANDOM_PATTERNS)
    if usual is None:
        return word
    rare = word & rng.getrandbits(_RANDOM_PATTERNS) & rng.getrandbits(_RANDOM_PATTERNS)
    return ~rare & ((1 << _RANDOM_PATTERNS) - 1) if usual else rare


def _word(words: list[int], literal: int, mask: int) -> int:
    return words[literal >> 1] ^ (mask if literal & 1 else 0)


def _ask_abc(machine: Machine, abc: Path, folder: Path, deadline: float) -> Answer:
    left = deadline - time.monotonic()
    if left < _MIN_ABC_S:
        return Answer(is_decided=False, method="abc", reason="no time was left for a proof")
    reached = machine.aig.below([machine.bad, *(following for _, following in machine.latches)])
    inputs = [variable for variable in machine.variables if variable >> 1 in reached]
    text = aiger(machine.aig, inputs=inputs, latches=machine.latches, bad=machine.bad)
    folder.joinpath(_FILE).write_bytes(text)
    # After scorr the machine may have no latch left, which `prove` takes and `pdr` does not; each ignores the other's.
    proof = f"scorr; prove; print_status; pdr -T {max(1, int(left))}" if machine.latches else "iprove"
    script = f"read_aiger {_FILE}; {proof}; print_status; write_cex -a -t {_TRACE}"
    argv = [str(abc), "-q", script]
    try:
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=left, check=False, errors="replace")
    except subprocess.TimeoutExpired:
        return Answer(is_decided=False, method="abc", reason="the proof took longer than the deadline")
    status = next((found for found in re.findall(r"^Status = (-?\d+) ", done.stdout, re.MULTILINE) if found != "-1"), None)
    if done.returncode == 0 and status == "1":
        return Answer(is_decided=True, method="abc")
    if done.returncode == 0 and status == "0":
        trace = _read_trace(folder.joinpath(_TRACE).read_text(), inputs)
        return Answer(is_decided=True, method="abc", trace=trace)
    said = (done.stdout + done.stderr).strip().splitlines()
    return Answer(is_decided=False, method="abc", reason=f"ABC did not decide: {said[-1] if said else 'it said nothing'}")


def _read_trace(text: str, inputs: list[int]) -> tuple[dict[int, int], ...]:
    """The input values by step out of an AIGER witness: a status, the property, the first state, the steps, a dot."""
    lines = text.splitlines()
    steps = lines[3 : lines.index(".")]
    return tuple(dict(zip(inputs, map(int, step), strict=True)) for step in steps)
