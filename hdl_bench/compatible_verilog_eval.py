"""VerilogEval v2 the way its own scripts do it: their extraction, command, pass rule and failure letters.

A candidate that prints the result line passes here. No waveform is written. The rules are those of upstream's
Makefile.in, scripts/sv-generate and scripts/sv-iv-analyze (github.com/NVlabs/verilog-eval), the odd ones too.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from hdl_bench.compatible import COMPILE_LIMITS, PASS, is_late, run_limits
from toolchain.command import CommandResult, Step

_RUN_S = 30  # upstream: timeout 30

_THINK = re.compile(r"<think>.*?</think>", re.DOTALL)
_MODULE, _END_MODULE, _FENCE = "module TopModule", "endmodule", "```"

# A line with this text decides, the first such line; within a line, in this order.
_DECIDING_TEXTS = (
    ("syntax error", "S"),
    ("error: This assignment requires an explicit cast", "e"),
    ("error: Sized numeric constant must have a size greater than zero", "0"),
    ("warning: always_comb process has no sensitivities", "n"),
    ("found no sensitivities so it will never trigger", "n"),
    ("is declared here as wire", "w"),
    ("Unknown module type", "m"),
    ("Unable to bind wire/reg/memory `clk'", "c"),
    ("TIMEOUT", "T"),
)
_MISMATCHES = re.compile(r"^Mismatches: (\d+) in \d+ samples$")
_ASYNCHRONOUS_RESETS = ("posedge reset", "negedge reset", "posedge r)")

LETTERS = {
    PASS: "pass",
    "S": "syntax error",
    "e": "explicit cast needed",
    "0": "sized constant of size 0",
    "n": "process without sensitivities",
    "w": "declared as wire",
    "m": "unknown module",
    "c": "clk not bound",
    "T": "time-out",
    "p": "wire or reg not bound",
    "C": "other compile error",
    "r": "mismatch, with an asynchronous reset",
    "R": "mismatch",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class VerilogEvalJob:
    """A candidate as upstream extracts it, and the problem's two files."""

    candidate: str
    testbench: str
    golden: str


class VerilogEvalChecker:
    """Upstream's make rule, given the paths of Icarus's two programs. Its finding is one of LETTERS."""

    def __init__(self, iverilog: str, vvp: str) -> None:
        self._iverilog = iverilog
        self._vvp = vvp

    def files(self, job: VerilogEvalJob) -> dict[str, str]:
        return {"sample.sv": job.candidate, "test.sv": job.testbench, "ref.sv": job.golden}

    def steps(self, job: VerilogEvalJob) -> tuple[Step, ...]:
        flags = ("-Wall", "-Winfloop", "-Wno-timescale", "-g2012", "-s", "tb", "-o", "sample")
        return (
            Step(argv=(self._iverilog, *flags, "sample.sv", "test.sv", "ref.sv"), limits=COMPILE_LIMITS),
            Step(argv=(self._vvp, "sample", "-none"), limits=run_limits(_RUN_S)),
        )

    def collects(self, job: VerilogEvalJob) -> tuple[str, ...]:
        return ()

    def parse(self, job: VerilogEvalJob, results: Sequence[CommandResult], outputs: dict[str, str]) -> str:
        log = "\n".join(text for result in results for text in (result.stderr, result.stdout))
        if is_late(results):
            log += "\nTIMEOUT"
        return letter_of(log, job.candidate)


def letter_of(log: str, candidate: str) -> str:
    """Upstream's letter for a log of compilation and run. Only the candidate's text tells `r` from `R`."""
    has_error = has_unbound = has_zero = False
    for line in log.replace("\r\n", "\n").replace("\r", "\n").split("\n"):  # as a Python file is read
        letter = next((letter for text, letter in _DECIDING_TEXTS if text in line), None)
        if letter is not None:
            return letter
        has_error = has_error or "error" in line
        has_unbound = has_unbound or "Unable to bind wire/reg" in line
        match = _MISMATCHES.match(line)
        has_zero = has_zero or (match is not None and int(match[1]) == 0)
    if has_unbound:
        return "p"
    if has_error:
        return "C"
    if has_zero:
        return PASS
    return "r" if any(text in candidate for text in _ASYNCHRONOUS_RESETS) else "R"


def rate_in_whole_per_cent(counts: Mapping[str, tuple[int, int]]) -> float:
    """pass@1 by upstream's arithmetic: each problem's rate is cut to whole per cent before the mean is taken."""
    return fmean(int(passed / num * 100) for num, passed in counts.values()) / 100


def extract_spec_to_rtl(completion: str) -> str:
    """What upstream's script takes out of an answer to spec-to-rtl."""
    lines = _THINK.sub("", completion).splitlines()
    between = _between_marks(lines)
    return "\n" + _join(_code_lines(lines) if between is None else between)


def extract_code_complete(completion: str, interface: str) -> str:
    """What upstream's script takes out of an answer to code-complete, the header in front where it is missing."""
    lines = _THINK.sub("", completion).splitlines()
    header = "" if _has_module(lines) else interface + "\n\n"
    return "\n" + header + _join(_code_lines(lines))


def _between_marks(lines: list[str]) -> list[str] | None:
    """The lines from [BEGIN] to [DONE]: none of them without the latter, None without the former."""
    taken: list[str] = []
    has_begun = False
    for line in lines:
        if not has_begun:
            has_begun = line.lstrip().startswith("[BEGIN]")
            if has_begun and line.strip() != "[BEGIN]":
                taken.append(line.lstrip().replace("[BEGIN]", ""))
        elif line.rstrip().endswith("[DONE]"):
            return taken if line.strip() == "[DONE]" else [*taken, line.rstrip().replace("[DONE]", "")]
        else:
            taken.append(line)
    return [] if has_begun else None


def _has_module(lines: list[str]) -> bool:
    """Whether a line starts with the module's header, and no module ends before it."""
    first = next((line for line in lines if line.startswith((_END_MODULE, _MODULE))), "")
    return first.startswith(_MODULE)


def _code_lines(lines: list[str]) -> list[str]:
    """Between the first two fence lines; with fewer, from the module's header to the first `endmodule`."""
    num_fences = sum(line.startswith(_FENCE) for line in lines)
    waits_for_module = _has_module(lines)
    num_seen, has_module, has_ended = 0, False, False
    taken = []
    for line in lines:
        has_module = has_module or line.strip().startswith(_MODULE)
        is_fence = line.startswith(_FENCE)
        is_inside = num_seen == 1 if num_fences >= 2 else not has_ended and (has_module or not waits_for_module)
        if is_inside and not is_fence:
            taken.append(line)
        num_seen += is_fence
        has_ended = has_ended or (not is_fence and line.strip().startswith(_END_MODULE))
    return taken


def _join(lines: list[str]) -> str:
    return "".join(line + "\n" for line in lines)
