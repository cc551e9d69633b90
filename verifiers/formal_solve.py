"""Decides a machine: no way to `bad`, or a trace to it, or neither within the deadline.

First the structure alone, then random runs of the graph, then equal registers are merged, and what is left is ABC's: a
combinational machine by SAT, a sequential one by property-directed reachability. No trace is believed here: it is
replayed by a simulator.
"""

import random
import re
import subprocess
import time
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path

from verifiers.formal_aig import FALSE, TRUE, aiger
from verifiers.formal_merge import Merged, merge_latches
from verifiers.formal_model import Machine

_NUM_PATTERNS = 256
_MASK = (1 << _NUM_PATTERNS) - 1
_FEW_STEPS, _MORE_STEPS = 12, 48
_NODE_STEPS = 400_000  # a bound on the work of random runs: nodes times steps
_FILE, _TRACE = "machine.aig", "machine.cex"
_MIN_ABC_S = 0.2
_STATUS = re.compile(r"^Status = ([01]) ", re.MULTILINE)

Trace = tuple[dict[int, int], ...]  # by step: the value of each variable's literal


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came of a search. A decided one without a trace is that there is no way to `bad`."""

    is_decided: bool
    method: str
    reason: str = ""
    trace: Trace | None = None


def solve(machine: Machine, *, abc: Path, folder: Path, deadline: float, usual: dict[int, int]) -> Answer:
    """Search until `deadline` (of time.monotonic). `usual` are the values that some variables mostly have in runs."""
    if machine.bad == FALSE and machine.says == TRUE:
        return Answer(is_decided=True, method="structure")
    runs = _RandomRuns(machine, usual)
    if runs.play(_FEW_STEPS if machine.latches else 4, deadline):
        return Answer(is_decided=True, method="random runs", trace=runs.trace)
    if not runs.has_said:
        return Answer(
            is_decided=False, method="random runs", reason="the golden's outputs were never known in random runs"
        )
    merged = merge_latches(machine.aig, machine.latches, machine.bad, runs.signatures())
    if merged.bad == FALSE:
        return Answer(is_decided=True, method="equal registers")
    if machine.latches and runs.play(_MORE_STEPS, deadline):
        return Answer(is_decided=True, method="random runs", trace=runs.trace)
    return _ask_abc(machine, merged, abc, folder, deadline)


@dataclass(slots=True)
class _RandomRuns:
    """Random runs of a machine, many at once. Seeded: the same machine gives the same runs."""

    machine: Machine
    usual: dict[int, int]
    trace: Trace | None = None
    has_said: bool = False  # whether the golden had a known bit
    _rng: random.Random = field(default_factory=lambda: random.Random(1))
    _drawn: list[dict[int, int]] = field(default_factory=list)
    _seen: dict[int, list[int]] = field(default_factory=dict)  # by latch: its words so far

    def __post_init__(self) -> None:
        self._seen = {variable: [0] for variable, _ in self.machine.latches}

    def play(self, num_steps: int, deadline: float) -> bool:
        """Go on for some steps, fewer for a large machine; whether `bad` was reached. Then `trace` leads there."""
        machine = self.machine
        num_steps = max(2, min(num_steps, _NODE_STEPS // len(machine.aig.fanins)))
        for _ in range(num_steps):
            if time.monotonic() > deadline:
                break
            inputs = {variable: self._draw(self.usual.get(variable)) for variable in machine.variables}
            self._drawn.append(inputs)
            state = {variable: words[-1] for variable, words in self._seen.items()}
            words = machine.aig.simulate(state | inputs, _MASK)
            self.has_said = self.has_said or _word(words, machine.says) != 0
            bad = _word(words, machine.bad)
            if bad:
                pattern = (bad & -bad).bit_length() - 1
                self.trace = tuple(
                    {variable: word >> pattern & 1 for variable, word in step.items()} for step in self._drawn
                )
                return True
            for variable, following in machine.latches:
                self._seen[variable].append(_word(words, following))
        return False

    def signatures(self) -> dict[int, Hashable]:
        """What tells latches apart, by variable; None for one that was always 0."""
        return {variable: tuple(words) if any(words) else None for variable, words in self._seen.items()}

    def _draw(self, usual: int | None) -> int:
        """Random bits; where a value is usual, the other in one of eight."""
        word = self._rng.getrandbits(_NUM_PATTERNS)
        if usual is None:
            return word
        rare = word & self._rng.getrandbits(_NUM_PATTERNS) & self._rng.getrandbits(_NUM_PATTERNS)
        return rare ^ _MASK if usual else rare


def _word(words: list[int], literal: int) -> int:
    return words[literal >> 1] ^ (_MASK if literal & 1 else 0)


def _ask_abc(machine: Machine, merged: Merged, abc: Path, folder: Path, deadline: float) -> Answer:
    left = deadline - time.monotonic()
    if left < _MIN_ABC_S:
        return Answer(is_decided=False, method="abc", reason="no time was left for a proof")
    reached = merged.aig.below([merged.bad, *(following for _, following in merged.latches)])
    inputs = [old for old in machine.variables if merged.variables[old] >> 1 in reached]
    new_inputs = [merged.variables[old] for old in inputs]
    text = aiger(merged.aig, inputs=new_inputs, latches=merged.latches, bad=merged.bad)
    folder.joinpath(_FILE).write_bytes(text)
    # After scorr the machine may have no latch left, which `prove` takes and `pdr` does not; each ignores the other's.
    proof = f"scorr; prove; print_status; pdr -T {max(1, int(left))}" if merged.latches else "iprove"
    script = f"read_aiger {_FILE}; {proof}; print_status; write_cex -a -t {_TRACE}"
    argv = [str(abc), "-q", script]
    try:
        done = subprocess.run(
            argv, cwd=folder, capture_output=True, text=True, timeout=left, check=False, errors="replace"
        )
    except subprocess.TimeoutExpired:
        return Answer(is_decided=False, method="abc", reason="the proof took longer than the deadline")
    status = _STATUS.search(done.stdout)
    if done.returncode != 0 or status is None:
        said = (done.stdout + done.stderr).strip().splitlines()
        return Answer(
            is_decided=False, method="abc", reason=f"ABC did not decide: {said[-1] if said else 'in silence'}"
        )
    if status[1] == "1":
        return Answer(is_decided=True, method="abc")
    return Answer(is_decided=True, method="abc", trace=_read_trace(folder.joinpath(_TRACE).read_text(), inputs))


def _read_trace(text: str, inputs: list[int]) -> Trace:
    """The input values by step out of an AIGER witness: a status, the property, the first state, the steps, a dot."""
    lines = text.splitlines()
    steps = lines[3 : lines.index(".")]
    return tuple(dict(zip(inputs, map(int, step), strict=True)) for step in steps)
