"""Runs a stock testbench on several candidates in one compilation and one simulation: a copy of all of it for each.

Each copy is renamed under its own nonce as in a run alone. Three things that copies would share are taken apart: what
`$finish` ends (a copy prints its result and then waits, the last one ends the run), its `final` block (which becomes
a task that is called there), and the streams of `$random` and `$urandom`, which start as they do in a run alone. A
testbench that does more of the kind is run alone: see `read_batch_harness`.
"""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from pyslang import ast, parsing, syntax

from toolchain.command import CommandResult, Step
from toolchain.icarus import Ending, ending_of, simulate_argv
from verifiers.elaborate import parse
from verifiers.icarus_build import IMAGE_FILE, IcarusBuilder
from verifiers.lexer import rename_identifier
from verifiers.simulate import Design
from verifiers.stock_checker import RUN_LIMITS, StockScore, read_score
from verifiers.stock_rename import StockHarness
from verifiers.types import PassRule

_ENDING_FILE = "ending.sv"
_DEFAULTS = "`resetall\n"
_FEMTOSECONDS = re.compile(r"\d\s*fs\b")
# They end a run, or draw from a stream that cannot be given to a copy: a testbench with one of these runs alone.
_SHARED = frozenset(("$stop", "$fatal", "$finish_and_return", "$exit", "$urandom_range"))


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchHarness:
    """A harness that can be copied. Its text has marks for the copy's nonce, the run's and the candidate."""

    text: str
    top: str
    copy_mark: str
    run_mark: str
    candidate_mark: str

    def render(self, *, nonce: str, run_nonce: str, candidate_top: str) -> str:
        """The text of the copy with that nonce, around a module `candidate_top`."""
        text = self.text.replace(self.copy_mark, nonce).replace(self.run_mark, run_nonce)
        return text.replace(self.candidate_mark, candidate_top)


@dataclass(frozen=True, kw_only=True, slots=True)
class StockBatchJob:
    """Copies of a harness, each with its candidate."""

    harness: BatchHarness
    designs: tuple[Design, ...]
    nonces: tuple[str, ...]  # one a copy
    run_nonce: str
    files: tuple[tuple[str, str], ...] = ()


class StockBatchChecker:
    """Icarus Verilog on copies of a stock testbench."""

    def __init__(self, *, builder: IcarusBuilder, vvp: str) -> None:
        self._builder = builder
        self._vvp = vvp

    def files(self, job: StockBatchJob) -> dict[str, str]:
        """The data files, and the sources as the compiler wants them."""
        return {**dict(job.files), **self._builder.files(_sources(job), _tops(job))}

    def steps(self, job: StockBatchJob) -> tuple[Step, ...]:
        """Compile, run."""
        return (
            self._builder.step(_sources(job), _tops(job)),
            Step(argv=simulate_argv(self._vvp, image=IMAGE_FILE), limits=RUN_LIMITS),
        )

    def collects(self, job: StockBatchJob) -> tuple[str, ...]:
        """Nothing: the results are printed."""
        return ()

    def parse(
        self, job: StockBatchJob, results: Sequence[CommandResult], outputs: dict[str, str]
    ) -> tuple[StockScore, ...] | None:
        """The score of each copy, or None when not all of them came to a result and a clean end."""
        if len(results) < 2 or ending_of(results[-1]) is not Ending.CLEAN:
            return None
        scores = [read_score(results[-1].stdout, nonce, PassRule.MISMATCH_COUNT) for nonce in job.nonces]
        return tuple(scores) if all(isinstance(score, StockScore) for score in scores) else None


def _tops(job: StockBatchJob) -> tuple[str, ...]:
    return (*(f"{job.harness.top}${nonce}" for nonce in job.nonces), f"ending${job.run_nonce}")


def _sources(job: StockBatchJob) -> dict[str, str]:
    """Every harness and every design finds the language's defaults, as in a run alone."""
    sources = {}
    for index, (design, nonce) in enumerate(zip(job.designs, job.nonces, strict=True)):
        copy = job.harness.render(nonce=nonce, run_nonce=job.run_nonce, candidate_top=design.top)
        sources[f"testbench{index}.sv"] = copy
        sources[f"defaults{index}.v"] = _DEFAULTS
        sources[f"design{index}.v"] = design.text
        sources[f"defaults_after{index}.v"] = _DEFAULTS
    return sources | {_ENDING_FILE: _ending_module(job)}


def _ending_module(job: StockBatchJob) -> str:
    """Counts the copies that have ended; holds the state of their streams of random numbers.

    vvp ends a run when all that happens at the time of `$finish` is done, and then calls the `final` blocks. So does
    this, a femtosecond later: before anything that a harness or candidate can let happen.
    """
    lines = ["`timescale 1fs/1fs", f"module ending${job.run_nonce};", "  integer num_ended = 0;"]
    for nonce in job.nonces:
        lines += [
            f"  integer random${nonce} = 0, urandom${nonce} = 0;",
            f"  reg has_ended${nonce} = 0;",
            f"  task ended${nonce}; if (!has_ended${nonce}) begin",
            f"    has_ended${nonce} = 1;",
            "    #1;",
            f"    {job.harness.top}${nonce}.final${nonce};",
            f"    num_ended = num_ended + 1; if (num_ended == {len(job.nonces)}) $finish(0);",
            "  end endtask",
        ]
    return "\n".join((*lines, "endmodule", ""))


def new_job(harness: BatchHarness, designs: tuple[Design, ...], files: tuple[tuple[str, str], ...]) -> StockBatchJob:
    """A job with fresh nonces."""
    nonces = tuple(secrets.token_hex(8) for _ in designs)
    return StockBatchJob(harness=harness, designs=designs, nonces=nonces, run_nonce=secrets.token_hex(8), files=files)


def read_batch_harness(harness: StockHarness, *, candidate_top: str) -> BatchHarness | None:
    """The harness ready to be copied, or None for one that must run alone.

    Alone runs a harness that ends or draws in another way than by `$finish`, `$random` and `$urandom` in initial
    blocks, one that reads files, and one whose `final` blocks are not all in its root module.
    """
    copy_mark, run_mark, candidate_mark = (f"earl{stem}{secrets.token_hex(8)}" for stem in ("copy", "run", "design"))
    top, text = harness.render(copy_mark)
    text = rename_identifier(text, candidate_top, candidate_mark)
    data = text.encode()
    edits = _Edits(text=data, top=top, ending=f"ending${run_mark}", nonce=copy_mark)
    source = parse(text)
    if any(finding.isError() for finding in source.tree.diagnostics):
        return None
    source.tree.root.visit(edits.visit)
    if not edits.is_possible or not edits.has_final or _FEMTOSECONDS.search(text):
        return None
    pieces, start = [], 0
    for first, last, replacement in sorted(edits.splices):
        pieces += (data[start:first], replacement.encode())
        start = last
    return BatchHarness(
        text=b"".join((*pieces, data[start:])).decode(),
        top=harness.top,
        copy_mark=copy_mark,
        run_mark=run_mark,
        candidate_mark=candidate_mark,
    )


class _Edits:
    """Collects what must be replaced in a harness, by byte offsets, and whether that is enough."""

    def __init__(self, *, text: bytes, top: str, ending: str, nonce: str) -> None:
        self._text, self._top, self._ending, self._nonce = text, top, ending, nonce
        self.splices: list[tuple[int, int, str]] = []
        self.is_possible, self.has_final = True, False

    def visit(self, node) -> ast.VisitAction:
        if isinstance(node, parsing.Token):
            if node.kind is parsing.TokenKind.SystemIdentifier and node.rawText in _SHARED:
                self.is_possible = False
        elif isinstance(node, syntax.ProceduralBlockSyntax) and node.kind is syntax.SyntaxKind.FinalBlock:
            self._replace_final(node)
        elif isinstance(node, syntax.SystemNameSyntax):
            self._replace_call(node)
        return ast.VisitAction.Advance

    def _replace_final(self, node: syntax.ProceduralBlockSyntax) -> None:
        module = node.parent
        is_root = isinstance(module, syntax.ModuleDeclarationSyntax) and module.header.name.valueText == self._top
        self.is_possible = self.is_possible and is_root and not self.has_final
        self.has_final = True
        start, end = node.keyword.range.start.offset, node.keyword.range.end.offset
        self.splices.append((start, end, f"task final${self._nonce};"))
        last = node.sourceRange.end.offset
        self.splices.append((last, last, " endtask"))

    def _replace_call(self, node: syntax.SystemNameSyntax) -> None:
        name = node.systemIdentifier
        if name.rawText not in ("$finish", "$random", "$urandom"):
            return
        call = node.parent if isinstance(node.parent, syntax.InvocationExpressionSyntax) else None
        has_arguments = call is not None and call.arguments is not None and len(list(call.arguments.parameters)) > 0
        if name.rawText == "$finish":
            replacement = f"begin {self._ending}.ended${self._nonce}; wait (0); end"
        elif has_arguments:
            return  # a stream of the testbench's own
        else:
            replacement = f"{name.rawText}({self._ending}.{name.rawText[1:]}${self._nonce})"
        span = (node if call is None else call).sourceRange
        is_written_here = self._text[span.start.offset :].startswith(name.rawText.encode())  # not out of a macro
        self.is_possible = self.is_possible and is_written_here and _runs_in_turn(node)
        self.splices.append((span.start.offset, span.end.offset, replacement))


def _runs_in_turn(node: syntax.SyntaxNode) -> bool:
    """Whether a statement is reached by a process that waits for what it names: a new name in it wakes nobody."""
    while node is not None and not isinstance(node, syntax.MemberSyntax):
        if isinstance(node, syntax.ImplicitEventControlSyntax):
            return False
        node = node.parent
    if node is None or node.kind is syntax.SyntaxKind.TaskDeclaration:
        return node is not None
    if node.kind not in (syntax.SyntaxKind.InitialBlock, syntax.SyntaxKind.AlwaysBlock):
        return False
    implicit: list[object] = []
    node.visit(lambda part: implicit.append(part) if isinstance(part, syntax.ImplicitEventControlSyntax) else None)
    return not implicit
