"""RTLLM the way its own script does it: `Pass` or `pass` anywhere in the output, with Icarus in the place of VCS.

The rules are those of the designs' makefiles and of auto_run.py (github.com/hkust-zhiyao/RTLLM): the candidate before
the testbench, a default time scale of 1ns/1ns, no root module named, 8 s for a simulation. A candidate that prints the
word passes here. One thing is added: a testbench without `$finish` is ended after a million nanoseconds, for upstream's
script could pass nothing on it if it had a clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hdl_bench.compatible import COMPILE_LIMITS, PASS, Rate, is_late, run_limits
from hdl_bench.statistics import pass_at_k
from toolchain.command import CommandResult, Step

_RUN_S = 8  # upstream: exec_shell's timeout
_TIMESCALE = "`timescale 1ns/1ns\n"
_ENDING = "module earl_ending;\n  initial #1000000 $finish(0);\nendmodule\n"
_PASS_TEXTS = ("Pass", "pass")

LETTERS = {
    PASS: "Pass or pass in the output",
    "C": "does not compile",
    "T": "runs for longer than 8 s",
    "R": "no pass in the output",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class RtllmJob:
    """A candidate, its testbench and the (name, text) of the data that lies in the design's folder."""

    candidate: str
    testbench: str
    files: tuple[tuple[str, str], ...]


class RtllmChecker:
    """Upstream's makefile for Icarus, given the paths of its two programs. Its finding is one of LETTERS."""

    def __init__(self, iverilog: str, vvp: str) -> None:
        self._iverilog = iverilog
        self._vvp = vvp

    def files(self, job: RtllmJob) -> dict[str, str]:
        first = _TIMESCALE if "$finish" in job.testbench else _TIMESCALE + _ENDING
        own = {"timescale.v": first, "design.v": job.candidate, "testbench.v": job.testbench}
        return {**dict(job.files), **own}

    def steps(self, job: RtllmJob) -> tuple[Step, ...]:
        sources = ("timescale.v", "design.v", "testbench.v")
        return (
            Step(argv=(self._iverilog, "-g2012", "-o", "simv", *sources), limits=COMPILE_LIMITS),
            Step(argv=(self._vvp, "-n", "simv", "-none"), limits=run_limits(_RUN_S)),
        )

    def collects(self, job: RtllmJob) -> tuple[str, ...]:
        return ()

    def parse(self, job: RtllmJob, results: Sequence[CommandResult], outputs: dict[str, str]) -> str:
        if len(results) < 2:
            return "C"
        if is_late(results):
            return "T"
        return PASS if any(text in results[-1].stdout for text in _PASS_TEXTS) else "R"


def rate_by_auto_run(*, num_names: int, skipped: frozenset[str] = frozenset()) -> Rate:
    """pass@1 by upstream's arithmetic: a 0 is added to its list of `num_names` designs, so that the mean is over one
    more than there are, and the designs that the list spells otherwise (`skipped`) are never run."""

    def rate(counts: Mapping[str, tuple[int, int]]) -> float:
        run = {name: pair for name, pair in counts.items() if name not in skipped}
        return sum(pass_at_k(num, passed, 1) for num, passed in run.values()) / (num_names + 1)

    return rate
