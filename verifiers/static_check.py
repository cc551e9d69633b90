"""Everything that can be said about a candidate without running it: one call, the first failure.

The order is that of the verdict's outcomes: raw text and syntax, forbidden constructs, interface, other faults of
elaboration. Runs pyslang, which is native code over hostile text: call it in a process that may be killed.
"""

from dataclasses import dataclass

import pyslang

from toolchain.diagnostics import Diagnostic
from verifiers.directives import SIZE_CODE, check_text
from verifiers.elaborate import Source, code_of, elaborate, module_names, parse
from verifiers.interface import check_interface, find_top, missing_top
from verifiers.screen import screen_design, screen_syntax
from verifiers.types import Outcome, Port, Stage

MAX_DIAGNOSTICS = 20

# Faults that pyslang calls errors and that Icarus accepts: the simulator has the last word on them.
_ACCEPTED_CODES = frozenset(("MultipleDefaultCases",))


@dataclass(frozen=True, kw_only=True, slots=True)
class StaticFinding:
    """Why a candidate ends before simulation."""

    outcome: Outcome
    stage: Stage
    diagnostics: tuple[Diagnostic, ...]


def static_check(text: str, top_module: str, ports: tuple[Port, ...] | None) -> StaticFinding | None:
    """The first static failure of a candidate, or None when it may be simulated. Never raises on any text.

    `ports` None: any ports will do.
    """
    findings = check_text(text)
    if findings:
        is_too_large = findings[0].code == SIZE_CODE
        outcome = Outcome.RESOURCE_LIMIT if is_too_large else Outcome.FORBIDDEN_CONSTRUCT
        return _finding(outcome, Stage.SCREEN, findings)
    source = parse(text)
    faults = [finding for finding in source.tree.diagnostics if _is_fault(finding)]
    if faults:
        is_too_deep = any(code_of(fault) == "ParseTreeTooDeep" for fault in faults)
        outcome = Outcome.RESOURCE_LIMIT if is_too_deep else Outcome.SYNTAX_ERROR
        return _finding(outcome, Stage.SCREEN, source.to_diagnostics(faults))
    return _check_design(source, top_module, ports)


def _check_design(source: Source, top_module: str, ports: tuple[Port, ...] | None) -> StaticFinding | None:
    findings = screen_syntax(source)
    if not findings:
        compilation = elaborate(source)
        findings = screen_design(source, compilation)
    if findings:
        return _finding(Outcome.FORBIDDEN_CONSTRUCT, Stage.SCREEN, findings)
    names = module_names(source)
    if top_module not in names:
        return _finding(Outcome.INTERFACE_ERROR, Stage.INTERFACE, (missing_top(source, top_module, names),))
    top = find_top(compilation, top_module)
    if top is None or len(names) > 1:  # what the top does not use is not elaborated by a simulator either
        compilation = elaborate(source, top_module)
        top = find_top(compilation, top_module)
    findings = check_interface(source, top, ports) if top is not None and ports is not None else ()
    if findings:
        return _finding(Outcome.INTERFACE_ERROR, Stage.INTERFACE, findings)
    faults = [finding for finding in compilation.getSemanticDiagnostics() if _is_fault(finding)]
    if faults:
        return _finding(Outcome.ELABORATION_ERROR, Stage.COMPILE, source.to_diagnostics(faults))
    assert top is not None, f"{top_module} neither elaborates nor has faults"
    return None


def _finding(outcome: Outcome, stage: Stage, diagnostics: tuple[Diagnostic, ...]) -> StaticFinding:
    return StaticFinding(outcome=outcome, stage=stage, diagnostics=diagnostics[:MAX_DIAGNOSTICS])


def _is_fault(finding: pyslang.Diagnostic) -> bool:
    return finding.isError() and code_of(finding) not in _ACCEPTED_CODES
