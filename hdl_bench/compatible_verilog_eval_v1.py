"""VerilogEval v1 the way its own script does it: one file of test, header and completion, and any stderr fails.

The rules are those of verilog_eval/execution.py and evaluation.py (github.com/NVlabs/verilog-eval, branch
release/1.0.0): nothing is taken out of the completion, a warning is a compile error, and the result line may stand
anywhere in the output. No waveform is written.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from hdl_bench.compatible import COMPILE_LIMITS, PASS, is_late, run_limits
from hdl_bench.statistics import pass_at_k
from toolchain.command import CommandResult, Step

_RUN_S = 30  # upstream: of compilation and run together; the former takes next to nothing of it
_MISMATCHES = re.compile(r"Mismatches: ([0-9]*) in ([0-9]*) samples")

LETTERS = {  # upstream's word for each result behind its own letter
    PASS: "passed",
    "S": "failed: syntax error.",
    "C": "failed: compile error.",
    "R": "failed: n out of m samples.",
    "I": "failed: info string not matched.",
    "T": "timed out",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class VerilogEvalV1Job:
    """The one file that upstream compiles. `task_id` gives it its name."""

    task_id: str
    text: str


class VerilogEvalV1Checker:
    """Upstream's command, given the paths of Icarus's two programs. Its finding is one of LETTERS."""

    def __init__(self, iverilog: str, vvp: str) -> None:
        self._iverilog = iverilog
        self._vvp = vvp

    def files(self, job: VerilogEvalV1Job) -> dict[str, str]:
        return {f"{job.task_id}.sv": job.text}

    def steps(self, job: VerilogEvalV1Job) -> tuple[Step, ...]:
        flags = ("-Wall", "-Winfloop", "-Wno-timescale", "-g2012", "-s", "tb", "-o", "test.vvp")
        return (
            Step(argv=(self._iverilog, *flags, f"{job.task_id}.sv"), limits=COMPILE_LIMITS),
            Step(argv=(self._vvp, "-n", "test.vvp", "-none"), limits=run_limits(_RUN_S)),
        )

    def collects(self, job: VerilogEvalV1Job) -> tuple[str, ...]:
        return ()

    def parse(self, job: VerilogEvalV1Job, results: Sequence[CommandResult], outputs: dict[str, str]) -> str:
        if is_late(results):
            return "T"
        return letter_of("".join(r.stdout for r in results), "".join(r.stderr for r in results))


def letter_of(stdout: str, stderr: str) -> str:
    """Upstream's result, by its letter, for what the compiler and the simulation printed in time."""
    if "syntax error" in stderr:
        return "S"
    if stderr:
        return "C"
    match = _MISMATCHES.search(stdout)
    if match is None or not (match[1] and match[2]):  # upstream fails to read a line without numbers
        return "I"
    return "R" if int(match[1]) else PASS


def job_text(*, test: str, prompt: str, completion: str) -> str:
    """The file under test."""
    return f"{test}\n{prompt}\n{completion}"


def mean_pass_rate(counts: Mapping[str, tuple[int, int]]) -> float:
    """pass@1 by upstream's arithmetic, which is the unbiased estimator."""
    return fmean(pass_at_k(num, passed, 1) for num, passed in counts.values())
