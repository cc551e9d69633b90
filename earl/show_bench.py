"""A benchmark's self-check on a terminal and as documents: which testbenches are weak, and what they do not see."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from earl.printable import printable
from earl.show_check import check_document, survivor_lines
from hdl_bench.bench_check import BenchCheck

_SHOWN_CHARACTERS = 120  # of one fault
_SHOWN_MUTANTS_OF = 5  # the weakest problems


def bench_document(found: BenchCheck) -> dict[str, Any]:
    """One problem as JSON-able data."""
    check, upstream = found.check, found.upstream
    details = check_document(check)
    return {
        "problem_id": found.problem_id,
        "golden": found.golden and found.golden.value,
        "empty": found.empty and found.empty.value,
        "mutation_score": check.mutation_score,
        "cheats_passed": len(check.passing_cheats),
        "sound": check.is_sound,
        "errata": list(found.erratum.kinds) if found.erratum else [],
        "faults": list(found.faults),
        "cheats": {tried.cheat.name: tried.outcome.value for tried in check.cheats},
        "equivalent_cheats": list(check.equivalent_cheats),
        **{key: details[key] for key in ("reasons", "failures", "num_mutants", "num_equivalent", "survivors")},
        "testbench_alone": {"mutation_score": check.testbench_score, "survivors": details["testbench_survivors"]},
        "upstream": upstream
        and {
            "golden": {"passed": upstream.golden.passed, "letter": upstream.golden.letter},
            "empty": {"passed": upstream.empty.passed, "letter": upstream.empty.letter},
            "cheats_passed": len(upstream.passing_cheats),
            "cheats": {cheat.name: result.letter for cheat, result in upstream.cheats},
        },
    }


def bench_summary(checks: Sequence[BenchCheck]) -> dict[str, Any]:
    """Counts over all problems; scores are means over the problems that have one."""
    upstream = [found.upstream for found in checks if found.upstream is not None]
    return {
        "num_problems": len(checks),
        "num_sound": sum(found.check.is_sound for found in checks),
        "num_not_checked": sum(bool(found.check.failures) for found in checks),
        "num_with_errata": sum(found.erratum is not None for found in checks),
        "num_goldens_passing": sum(found.golden == "passed" for found in checks),
        "num_goldens_passing_upstream": sum(found.golden.passed for found in upstream) if upstream else None,
        "num_cheated_upstream": sum(bool(found.passing_cheats) for found in upstream) if upstream else None,
        "mutation_score": _mean([found.check.mutation_score for found in checks]),
        "mutation_score_testbench_alone": _mean([found.check.testbench_score for found in checks]),
    }


def render_bench(name: str, checks: Sequence[BenchCheck]) -> RenderableType:
    """The problems with a fault, the weakest testbench first; what the weakest do not see; a summary."""
    faulty = sorted((found for found in checks if found.faults), key=lambda found: found.weakness)
    parts: list[RenderableType] = [_table(name, faulty), Text()] if faulty else []
    for found in faulty[:_SHOWN_MUTANTS_OF]:
        parts += survivor_lines(found.check)
    return Group(*parts, Text(), _cheat_table(checks), Text(), *_summary(checks, num_faulty=len(faulty)))


def _table(name: str, faulty: Sequence[BenchCheck]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, title=f"{name}: problems to look at", title_justify="left")
    table.add_column("problem", no_wrap=True)
    for heading in ("mutants", "alone", "hardened"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("faults")
    for found in faulty:
        known = [f"known: {', '.join(found.erratum.kinds).replace('_', ' ')}"] if found.erratum else []
        table.add_row(
            Text(printable(found.problem_id)),
            str(found.check.num_mutants),
            _percent(found.check.testbench_score),
            _percent(found.check.mutation_score),
            Text(printable("; ".join([_short(fault) for fault in found.faults] + known))),
        )
    return table


def _cheat_table(checks: Sequence[BenchCheck]) -> Table:
    """On how many problems each cheat passes, where it is not the golden itself."""
    hardened = Counter(name for found in checks for name in found.check.passing_cheats)
    upstream = Counter(cheat.name for found in checks if found.upstream for cheat in found.upstream.passing_cheats)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column("cheat")
    table.add_column("passes, hardened", justify="right")
    table.add_column("by upstream's rule", justify="right")
    for name in dict.fromkeys(tried.cheat.name for found in checks for tried in found.check.cheats):
        table.add_row(name, str(hardened[name]), str(upstream[name]) if any(x.upstream for x in checks) else "-")
    return table


def _summary(checks: Sequence[BenchCheck], *, num_faulty: int) -> list[Text]:
    summary = bench_summary(checks)
    num = summary["num_problems"]
    lines = [
        f"{num - num_faulty} of {num} problems have no fault; {summary['num_sound']} are sound as we judge them",
        f"goldens that pass: {summary['num_goldens_passing']} hardened"
        + (f", {summary['num_goldens_passing_upstream']} by upstream's rule" if checks[0].upstream else ""),
        f"mutants that fail: {_percent(summary['mutation_score_testbench_alone'])} by the testbench alone, "
        f"{_percent(summary['mutation_score'])} hardened (means over problems)",
    ]
    if summary["num_not_checked"]:
        lines.append(f"{summary['num_not_checked']} could not be checked by a fault of ours: see `earl doctor`")
    return [Text(line, style="bold") for line in lines]


def _short(fault: str) -> str:
    """A fault for a table: --json has the whole."""
    return fault.partition(" under seed ")[0][:_SHOWN_CHARACTERS]


def _mean(scores: Sequence[float | None]) -> float | None:
    known = [score for score in scores if score is not None]
    return math.fsum(known) / len(known) if known else None


def _percent(score: float | None) -> str:
    return "-" if score is None else f"{score:.0%}"
