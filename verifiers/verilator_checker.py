"""Verilator's lint as a checker. Pure: runs nothing, and judges nothing: warnings are for people.

Comments are blanked before Verilator reads a design: it takes orders from them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from toolchain.command import CommandResult, Limits, Step
from toolchain.diagnostics import Diagnostic
from toolchain.icarus import Ending, ending_of
from toolchain.verilator import environment, lint_argv, parse_log
from verifiers.lexer import LexemeKind, lex
from verifiers.simulate import DESIGN_FILE, Failure, describe_ending
from verifiers.types import Stage

LINT_LIMITS = Limits(cpu_s=6, wall_s=30.0, memory_bytes=1 << 30, output_bytes=1 << 20)


@dataclass(frozen=True, kw_only=True, slots=True)
class LintJob:
    """A design to look at."""

    text: str
    top: str


class VerilatorLint:
    """Verilator's findings on a design, given its path and root folder."""

    def __init__(self, *, verilator: str, root: Path) -> None:
        self._verilator, self._root = verilator, root

    def files(self, job: LintJob) -> dict[str, str]:
        return {DESIGN_FILE: without_comments(job.text)}

    def steps(self, job: LintJob) -> tuple[Step, ...]:
        argv = lint_argv(self._verilator, source=DESIGN_FILE, top=job.top)
        return (Step(argv=argv, limits=LINT_LIMITS, env=environment(self._root)),)

    def collects(self, job: LintJob) -> tuple[str, ...]:
        return ()

    def parse(
        self, job: LintJob, results: Sequence[CommandResult], outputs: dict[str, str]
    ) -> tuple[Diagnostic, ...] | Failure:
        """What Verilator finds (errors, and warnings but those of style), or how it failed to look."""
        return read_translation(results[-1])


def read_translation(result: CommandResult) -> tuple[Diagnostic, ...] | Failure:
    """The findings of a run of Verilator that came to its own end; a refusal is one only if it names an error."""
    ending = ending_of(result)
    found = tuple(_as_the_designs(diagnostic) for diagnostic in parse_log(result.stderr))
    is_error = any(diagnostic.severity == "error" for diagnostic in found)
    is_internal = any(diagnostic.code == "internal" for diagnostic in found)
    if ending is Ending.CLEAN or (ending is Ending.REFUSED and is_error and not is_internal):
        return found
    return Failure(stage=Stage.COMPILE, ending=ending, diagnostics=(*found, describe_ending(ending, result)))


def without_comments(text: str) -> str:
    """The text with every comment made blank, its lines and columns kept."""
    pieces = []
    for lexeme in lex(text):
        piece = text[lexeme.start : lexeme.end]
        is_comment = lexeme.kind is LexemeKind.COMMENT
        pieces.append("".join(char if char in "\r\n\t" else " " for char in piece) if is_comment else piece)
    return "".join(pieces)


def _as_the_designs(diagnostic: Diagnostic) -> Diagnostic:
    return replace(diagnostic, file="", line=diagnostic.line if diagnostic.file == DESIGN_FILE else None)
