"""Judges several candidates of one problem together: one compilation and one simulation for all that can share them.

In a batch each candidate has its own inputs, modules renamed under a nonce on the syntax tree, and the compiler's
defaults afresh; what would not be independent all the same (packages, file scope, macros, time scales) runs alone. A
batch that does not end normally with all of its rows says nothing: its members run alone, and the verdict on each is
that of `Verifier.verify`. A small part of the batched verdicts is checked by running alone, too.
"""

import logging
import random
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from pyslang import ast, parsing, syntax

from toolchain.diagnostics import Diagnostic
from toolchain.errors import EarlError, InfrastructureError
from toolchain.icarus_direct import needs_driver
from verifiers.cache import unified
from verifiers.elaborate import parse
from verifiers.errors import AUDIT_CODE
from verifiers.golden import harness_of
from verifiers.reference import as_reference
from verifiers.simulate import Design, Failure
from verifiers.stock import StockFinding
from verifiers.types import Candidate, Problem, TestbenchOracle, Verdict
from verifiers.verify import Verifier

AUDIT_FRACTION = 0.02
MAX_BATCH = 16
_log = logging.getLogger("verifiers.batch")
_draw = random.SystemRandom().random


def verify_group(
    verifier: Verifier,
    problem: Problem,
    candidates: Sequence[Candidate],
    seeds: tuple[int, ...],
    *,
    audit_fraction: float = AUDIT_FRACTION,
) -> list[Verdict]:
    """The verdicts on candidates of a problem, in order: those of `verifier.verify` but for `duration_s`.

    Equal designs are judged once. A failure of ours is the outcome TOOL_ERROR, never an exception.
    """
    verdicts: dict[str, Verdict] = {}
    waiting: dict[str, Candidate] = {}
    for candidate in candidates:
        text = unified(candidate.text)
        if text in verdicts or text in waiting:
            continue
        started = time.monotonic()
        try:
            verdict = verifier.check(problem, replace(candidate, text=text), seeds[0])
        except (EarlError, OSError) as error:
            verdict = verifier.tool_error(error, seeds[0])
        if verdict is None:
            waiting[text] = replace(candidate, text=text)
        else:
            verdicts[text] = replace(verdict, duration_s=time.monotonic() - started)
    texts = list(waiting)
    for first in range(0, len(texts), MAX_BATCH):
        members = [waiting[text] for text in texts[first : first + MAX_BATCH]]
        verdicts |= _verify_checked(verifier, problem, members, seeds, audit_fraction)
    return [verdicts[unified(candidate.text)] for candidate in candidates]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Findings:
    """What a batch found out about its members, by their text: not about all of them, and not all there is to find."""

    own: dict[str, Verdict] = field(default_factory=dict)  # of our own generated testbench
    stock: dict[str, StockFinding] = field(default_factory=dict)


def _verify_checked(
    verifier: Verifier, problem: Problem, members: list[Candidate], seeds: tuple[int, ...], audit_fraction: float
) -> dict[str, Verdict]:
    """The verdicts on different candidates that passed the static checks, by their text."""
    started = time.monotonic()
    try:
        found = _run_together(verifier, problem, members, seeds)
    except (EarlError, OSError) as error:
        _log.warning("problem %s: a batch could not be run: %s", problem.problem_id, error)
        found = _Findings()
    share_s = (time.monotonic() - started) / len(members)
    verdicts = {}
    for member in members:
        started = time.monotonic()
        own, stock = found.own.get(member.text), found.stock.get(member.text)
        try:
            verdict = verifier.verify_checked(problem, member, seeds, own, stock)
            if (own is not None or stock is not None) and _draw() < audit_fraction:
                verdict = _audited(verifier, problem, member, seeds, verdict)
        except (EarlError, OSError) as error:
            verdict = verifier.tool_error(error, seeds[0])
        verdicts[member.text] = replace(verdict, duration_s=time.monotonic() - started + share_s)
    return verdicts


def _audited(
    verifier: Verifier, problem: Problem, member: Candidate, seeds: tuple[int, ...], together: Verdict
) -> Verdict:
    """The verdict of a run alone, or a failure of ours if that is not what came `together`."""
    alone = verifier.verify_checked(problem, member, seeds)
    if not alone.is_scored or alone == together:
        return alone
    message = f"problem {problem.problem_id}: {together.outcome} in a batch, {alone.outcome} alone, or in other samples"
    _log.error("%s:\n%s", message, member.text)
    verdict = verifier.tool_error(InfrastructureError(message), seeds[0])
    return replace(verdict, diagnostics=(Diagnostic(message=message, code=AUDIT_CODE),))


def _run_together(verifier: Verifier, problem: Problem, members: list[Candidate], seeds: tuple[int, ...]) -> _Findings:
    """What can be found out in simulations that several members share."""
    if len(members) < 2:
        return _Findings()
    renamed = {member.text: renamed_design(member.text, problem.top_module) for member in members}
    designs = {text: design for text, design in renamed.items() if design is not None}
    reference = as_reference(problem)
    own = {} if reference is None else _play_together(verifier, reference, designs, seeds)
    if not isinstance(problem.oracle, TestbenchOracle):
        return _Findings(own=own)
    # Who fails our own testbench is not run in the stock one either when alone.
    left = {text: design for text, design in designs.items() if text not in own or own[text].passed}
    if len(left) < 2:
        return _Findings(own=own)
    findings = verifier.stock.judge_together(problem, tuple(left.values()))
    return _Findings(own=own, stock={} if findings is None else dict(zip(left, findings, strict=True)))


def _play_together(
    verifier: Verifier, reference: Problem, designs: dict[str, Design], seeds: tuple[int, ...]
) -> dict[str, Verdict]:
    """The verdicts of our own generated testbench on designs in one simulation, by their text before the renaming."""
    if len(designs) < 2:
        return {}
    harness = harness_of(reference)
    goldens = verifier.goldens.runs(reference, seeds)
    result = verifier.simulator.simulate(
        tuple(designs.values()),
        tuple(golden.stimulus for golden in goldens),
        ports=harness.ports,
        protocol=harness.protocol,
    )
    if isinstance(result, Failure):
        return {}
    verdicts = {}
    for text, own_traces in zip(designs, result.traces, strict=True):
        verdict = verifier.verdict_of_traces(goldens, own_traces)
        verdicts[text] = verifier.with_suspects(reference, Candidate(text=text), verdict)
    return verdicts


def renamed_design(text: str, top: str) -> Design | None:
    """A design whose modules have names that nobody else has, or None for one that must run alone.

    It must run alone with macros, with a time scale (the finest one is everybody's), and with anything at file scope
    but modules. `text` has passed the static checks.
    """
    if needs_driver(text) or "`timescale" in text:
        return None
    root = parse(text).tree.root
    modules = list(root.members) if isinstance(root, syntax.CompilationUnitSyntax) else [root]
    if any(module.kind is not syntax.SyntaxKind.ModuleDeclaration for module in modules):
        return None
    source = text.encode()
    ends = {_end_of(token) for module in modules for token in _names_of(module)}
    is_one_name = len(modules) == 1 and source.count(b"module") == 2 and source.count(top.encode()) == len(ends)
    if not is_one_name:
        names = {module.header.name.valueText for module in modules}
        found = _places_of(root, names, num_modules=len(modules))
        if found is None:
            return None
        ends = found
    suffix = f"_{secrets.token_hex(8)}"
    pieces, start = [], 0
    for end in sorted(ends):
        pieces += (source[start:end], suffix.encode())
        start = end
    renamed = b"".join((*pieces, source[start:])).decode()
    return Design(text=renamed, top=f"{top}{suffix}")


def _names_of(module: syntax.ModuleDeclarationSyntax) -> list[parsing.Token]:
    """A module's name, where it is declared and where it may be said again at the end."""
    return [module.header.name] + ([module.blockName.name] if module.blockName is not None else [])


def _end_of(token: parsing.Token) -> int:
    return token.location.offset + len(token.rawText)


def _places_of(root: syntax.SyntaxNode, names: set[str], *, num_modules: int) -> set[int] | None:
    """The byte offsets at which the names of modules end; None when there are modules inside of modules."""
    ends: set[int] = set()
    num_found = 0

    def visit(node) -> ast.VisitAction:
        nonlocal num_found
        if isinstance(node, syntax.ModuleDeclarationSyntax):
            num_found += 1
            ends.update(_end_of(token) for token in _names_of(node))
        elif isinstance(node, syntax.HierarchyInstantiationSyntax) and node.type.valueText in names:
            ends.add(_end_of(node.type))
        return ast.VisitAction.Advance

    root.visit(visit)
    return ends if num_found == num_modules else None
