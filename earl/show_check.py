"""Checks of problems on a terminal and as documents: which are sound, why others are not, what their oracles miss."""

import math
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from earl.printable import printable
from verifiers.mutate import Mutant
from verifiers.problem_check import ProblemCheck, Survivor

_SHOWN_MUTANTS = 8  # in one list


def check_document(check: ProblemCheck) -> dict[str, Any]:
    """One check as JSON-able data."""
    return {
        "problem_id": check.problem_id,
        "is_sound": check.is_sound,
        "reasons": list(check.reasons),
        "failures": list(check.failures),
        "num_samples": check.num_samples,
        "mutation_score": check.mutation_score,
        "num_mutants": check.num_mutants,
        "num_killed": check.num_killed,
        "num_equivalent": check.num_equivalent,
        "has_few_mutants": check.has_few_mutants,
        "survivors": [_survivor_document(survivor) for survivor in check.survivors],
        "testbench_score": check.testbench_score,
        "testbench_survivors": (
            None
            if check.testbench_survivors is None
            else [_mutant_document(mutant) for mutant in check.testbench_survivors]
        ),
    }


def summary_document(checks: Sequence[ProblemCheck]) -> dict[str, Any]:
    """Counts over all checks; `mutation_score` is the mean over problems that have mutants."""
    scores = [check.mutation_score for check in checks if check.mutation_score is not None]
    return {
        "num_problems": len(checks),
        "num_sound": sum(check.is_sound for check in checks),
        "num_quarantined": sum(check.is_quarantined for check in checks),
        "num_not_checked": sum(bool(check.failures) for check in checks),
        "num_with_few_mutants": sum(check.has_few_mutants for check in checks),
        "mutation_score": math.fsum(scores) / len(scores) if scores else None,
    }


def render_checks(checks: Sequence[ProblemCheck]) -> RenderableType:
    """A row a problem, the passing mutants with their source lines, the reasons of quarantine, a summary."""
    parts: list[RenderableType] = [_table(checks)]
    for check in checks:
        parts += survivor_lines(check)
    quarantined = [f"  {check.problem_id}: {why}" for check in checks if check.is_quarantined for why in check.reasons]
    if quarantined:
        parts += [Text(), Text("quarantined", style="bold red"), *map(_line, quarantined)]
    failures = [f"  {check.problem_id}: {why}" for check in checks for why in check.failures]
    if failures:
        title = "not checked, by a fault of ours: try `earl doctor`"
        parts += [Text(), Text(title, style="bold yellow"), *map(_line, failures)]
    return Group(*parts, Text(), _summary(checks))


def _survivor_document(survivor: Survivor) -> dict[str, Any]:
    return {**_mutant_document(survivor.mutant), "is_different": survivor.is_different, "evidence": survivor.evidence}


def _mutant_document(mutant: Mutant) -> dict[str, Any]:
    return {
        "line": mutant.line,
        "source_line": mutant.source_line,
        "operator": mutant.operator,
        "before": mutant.before,
        "after": mutant.after,
    }


def _table(checks: Sequence[ProblemCheck]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column("problem", no_wrap=True)
    for name in ("mutants", "pass", "equivalent", "score", "testbench alone"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for check in checks:
        num_open = sum(not survivor.is_different for survivor in check.survivors)
        table.add_row(
            _line(check.problem_id),
            str(check.num_mutants),
            f"{len(check.survivors)}{f', {num_open} undecided' if num_open else ''}",
            str(check.num_equivalent),
            _percent(check.mutation_score),
            _percent(check.testbench_score),
            _state(check),
        )
    return table


def _percent(score: float | None) -> str:
    return "-" if score is None else f"{score:.0%}"


def _state(check: ProblemCheck) -> Text:
    if check.failures:
        return Text("not checked", style="yellow")
    if check.reasons:
        return Text("quarantined", style="red")
    return Text("sound, few mutants", style="yellow") if check.has_few_mutants else Text("sound", style="green")


def survivor_lines(check: ProblemCheck) -> list[Text]:
    """What the oracle does not see, with the place in the golden: this is what to repair a testbench by."""
    passing = [
        (survivor.mutant, f"{'differs' if survivor.is_different else 'undecided'}: {survivor.evidence}")
        for survivor in check.survivors
    ]
    seen = {mutant for mutant, _ in passing}
    alone = [(mutant, "our own testbench fails it") for mutant in check.testbench_survivors or () if mutant not in seen]
    return [
        *_mutant_lines(f"{check.problem_id}: mutants that pass", passing),
        *_mutant_lines(f"{check.problem_id}: mutants that its own testbench passes", alone),
    ]


def _mutant_lines(title: str, mutants: list[tuple[Mutant, str]]) -> list[Text]:
    lines = [Text(), _line(title, style="bold")] if mutants else []
    for mutant, why in mutants[:_SHOWN_MUTANTS]:
        lines.append(_line(f"  line {mutant.line}: {mutant.source_line}"))
        lines.append(_line(f"    {mutant.operator}: {mutant.before}  ->  {mutant.after}   ({why})", style="cyan"))
    if len(mutants) > _SHOWN_MUTANTS:
        lines.append(Text(f"  and {len(mutants) - _SHOWN_MUTANTS} more: --json has all"))
    return lines


def _summary(checks: Sequence[ProblemCheck]) -> Text:
    summary = summary_document(checks)
    words = f"{summary['num_sound']} of {summary['num_problems']} problems are sound"
    if summary["mutation_score"] is not None:
        words += f"; mean mutation score {summary['mutation_score']:.1%}"
    if summary["num_with_few_mutants"]:
        words += f"; {summary['num_with_few_mutants']} have fewer than ten mutants"
    return Text(words, style="bold")


def _line(text: str, style: str = "") -> Text:
    return Text(printable(text), style=style)
