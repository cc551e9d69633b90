"""Defects of problems that show only when they are run: a golden that fails its own testbench with these tools."""

from collections.abc import Iterable

from hdl_bench.errata import Erratum
from verifiers.errors import PROBLEM_FAULT
from verifiers.types import Verdict


def shown_errata(verdicts: Iterable[tuple[str, Verdict]]) -> dict[str, Erratum]:
    """The errata that verdicts show, by problem_id: those that say that no candidate of the problem can be judged."""
    found = {}
    for problem_id, verdict in verdicts:
        said = [diagnostic.message for diagnostic in verdict.diagnostics if diagnostic.code == PROBLEM_FAULT]
        if said and not verdict.is_scored:
            note = said[0].removeprefix(f"problem {problem_id}: ")
            found[problem_id] = Erratum(problem_id=problem_id, kinds=("golden_fails",), note=note)
    return found
