"""Icarus Verilog: builds argv lists and reads its compiler's log. Pure: runs nothing."""

import re
import signal
from collections.abc import Sequence
from enum import StrEnum

from toolchain.command import CommandResult
from toolchain.diagnostics import Diagnostic

_MESSAGE = re.compile(r"^(?P<file>[^\s:][^:]*):(?P<line>\d+): (?P<text>.*)$")
_SEVERITIES = {"warning": "warning", "error": "error", "sorry": "error", "internal error": "error"}
# iverilog's own words for a text that its grammar refuses
_SYNTAX_WORDS = ("syntax error", "invalid module item", "invalid module instantiation", "malformed statement")


def compile_argv(
    iverilog: str,
    *,
    sources: Sequence[str],
    tops: Sequence[str],
    output: str,
    parameters: Sequence[tuple[str, str]] = (),
) -> tuple[str, ...]:
    """The argv that compiles `sources` (in this order) with the root modules `tops` into `output`.

    `parameters` are of the first root module, by name.
    """
    roots = (word for top in tops for word in ("-s", top))
    values = (f"-P{tops[0]}.{name}={value}" for name, value in parameters)
    return (iverilog, "-g2012", "-Wall", "-Wno-timescale", *roots, *values, "-o", output, *sources)


def preprocess_argv(iverilog: str, *, source: str, output: str) -> tuple[str, ...]:
    """The argv that expands the macros and conditionals of `source`; its lines stay where they are."""
    return (iverilog, "-g2012", "-E", "-o", output, source)


def simulate_argv(vvp: str, *, image: str) -> tuple[str, ...]:
    """The argv that runs a compiled image: `$stop` ends the run, and no waveform file is written."""
    return (vvp, "-n", image, "-none")


def parse_compile_log(text: str) -> tuple[Diagnostic, ...]:
    """The messages of iverilog's stderr that name a place, in order. Summary lines ("I give up.") are left out.

    `code` is "syntax", "sorry" (a construct that Icarus lacks), "internal" or "".
    """
    return tuple(found for line in text.splitlines() if (found := _parse_line(line)) is not None)


def _parse_line(line: str) -> Diagnostic | None:
    match = _MESSAGE.match(line)
    if match is None:
        return None
    message, severity, code = match["text"].strip(), "error", ""
    for word, meaning in _SEVERITIES.items():
        if message.startswith(word + ":"):
            message, severity = message[len(word) + 1 :].strip(), meaning
            code = {"sorry": "sorry", "internal error": "internal"}.get(word, "")
            break
    else:
        if message.startswith(("...:", ":")):  # the second line of a message
            message, severity = message.lstrip(".: "), "note"
    if severity == "error" and any(word in message.lower() for word in _SYNTAX_WORDS):
        code = "syntax"
    return Diagnostic(message=message, severity=severity, code=code, file=match["file"], line=int(match["line"]))


class Ending(StrEnum):
    """How a run of iverilog or vvp ended."""

    CLEAN = "clean"
    REFUSED = "refused"  # a non-zero exit code, by the tool's own will
    TIME_LIMIT = "time limit"  # of wall or CPU time: which of them comes first is a matter of the machine's load
    RESOURCE_LIMIT = "resource limit"  # memory, output or file size
    CRASH = "crash"


def ending_of(result: CommandResult) -> Ending:
    """How the run that left `result` ended."""
    if result.is_timed_out or result.returncode == -signal.SIGXCPU or "CPU time limit exceeded" in result.stderr:
        return Ending.TIME_LIMIT
    if result.is_output_truncated or result.returncode == -signal.SIGXFSZ or "bad_alloc" in result.stderr:
        return Ending.RESOURCE_LIMIT
    if result.returncode == 0:
        return Ending.CLEAN
    is_inner_fault = any(word in result.stderr for word in ("internal error", "Assertion", "assert:"))
    return Ending.CRASH if result.returncode < 0 or is_inner_fault else Ending.REFUSED
