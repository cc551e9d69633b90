"""Compiles and runs a candidate in a stock testbench under a nonce, and reads the result line. Pure: runs nothing.

What counts as a result is what the harness alone can print: the line that carries the nonce. It says nothing of whose
fault a failure is, and nothing of whether the result is good enough: that is `verifiers.stock`'s.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from toolchain.command import CommandResult, Limits, Step
from toolchain.diagnostics import Diagnostic
from toolchain.icarus import Ending, simulate_argv
from verifiers.icarus_build import IMAGE_FILE, IcarusBuilder
from verifiers.simulate import DESIGN_FILE, Failure, failure_of
from verifiers.stock_rename import MARKED
from verifiers.types import PassRule, Stage

# A stock testbench runs as long as its author liked: upstream's own limit is 30 s.
RUN_LIMITS = Limits(cpu_s=20, wall_s=40.0, memory_bytes=1 << 30, output_bytes=32 << 20)

_HARNESS_FILE, _DEFAULTS_FILE, _FIRST_FILE = "testbench.sv", "defaults.v", "timescale.v"
_TIMESCALE = "`timescale 1ns/1ns\n"  # of RTLLM's own command, for the testbench and the candidate alike
# Nothing that the harness sets (net type, time scale) reaches into the candidate.
_DEFAULTS = {PassRule.MISMATCH_COUNT: "`resetall\n", PassRule.BANNER: f"`resetall\n{_TIMESCALE}"}
_COUNTS = re.compile(r"(\d+) in (\d+) samples")
_FAILURE_TEXT = re.compile(r"\bError\b|\bFailed\b|\bcompleted with +[1-9]\d* *(?:/ *\d+ *)?failures", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class StockJob:
    """A harness that was renamed under `nonce`, and the candidate's text."""

    harness: str
    top: str
    nonce: str
    rule: PassRule
    design: str
    files: tuple[tuple[str, str], ...] = ()  # data that the testbench reads


@dataclass(frozen=True, kw_only=True, slots=True)
class StockScore:
    """What the testbench says. Each banner is a sample."""

    num_mismatches: int
    num_samples: int


class StockChecker:
    """Icarus Verilog on stock testbenches."""

    def __init__(self, *, builder: IcarusBuilder, vvp: str) -> None:
        self._builder = builder
        self._vvp = vvp

    def files(self, job: StockJob) -> dict[str, str]:
        return {**dict(job.files), **self._builder.files(_sources(job), (job.top,))}

    def steps(self, job: StockJob) -> tuple[Step, ...]:
        return (
            self._builder.step(_sources(job), (job.top,)),
            Step(argv=simulate_argv(self._vvp, image=IMAGE_FILE), limits=RUN_LIMITS),
        )

    def collects(self, job: StockJob) -> tuple[str, ...]:
        return ()

    def parse(self, job: StockJob, results: Sequence[CommandResult], outputs: dict[str, str]) -> StockScore | Failure:
        """The score, or how the compiler (one result) or the simulation (two) failed to give one."""
        failure = failure_of(results)
        if failure is not None:
            return failure
        score = read_score(results[-1].stdout, job.nonce, job.rule)
        if isinstance(score, StockScore):
            return score
        diagnostic = Diagnostic(message=f"the simulation ended well, but {score}", code="result_line")
        return Failure(stage=Stage.SIMULATE, ending=Ending.CLEAN, diagnostics=(diagnostic,))


def _sources(job: StockJob) -> dict[str, str]:
    """The harness comes first, so that no directive of the candidate reaches into it."""
    first = {_FIRST_FILE: _TIMESCALE} if job.rule is PassRule.BANNER else {}
    return first | {_HARNESS_FILE: job.harness, _DEFAULTS_FILE: _DEFAULTS[job.rule], DESIGN_FILE: job.design}


def read_score(stdout: str, nonce: str, rule: PassRule) -> StockScore | str:
    """The score that the harness's one result line gives, or why there is none."""
    mark = f"{nonce} {MARKED[rule]}"
    lines = [line for line in stdout.split("\n") if mark in line]
    if rule is PassRule.BANNER:
        return _read_banner(stdout, len(lines))
    if len(lines) != 1:
        return f"the testbench printed {len(lines)} result lines, not one"
    counts = _COUNTS.fullmatch(lines[0].removeprefix(mark).strip())
    if counts is None:
        return f"the testbench's result line reads {lines[0].removeprefix(nonce).strip()!r:.80}"
    return StockScore(num_mismatches=int(counts[1]), num_samples=int(counts[2]))


def _read_banner(stdout: str, num_banners: int) -> StockScore | str:
    failure = _FAILURE_TEXT.search(stdout)
    if failure is not None:
        return StockScore(num_mismatches=1, num_samples=1)
    if num_banners == 0:
        return "the testbench printed no pass banner, and no failure"
    return StockScore(num_mismatches=0, num_samples=num_banners)
