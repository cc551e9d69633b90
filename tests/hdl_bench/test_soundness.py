"""Errata that only a run shows, and how they join those that were known."""

from hdl_bench.errata import Erratum, merged
from hdl_bench.soundness import shown_errata
from toolchain.diagnostics import Diagnostic
from verifiers.errors import PROBLEM_FAULT
from verifiers.types import Outcome, Stage, Verdict


def verdict_of(outcome: Outcome, code: str) -> Verdict:
    diagnostic = Diagnostic(message="problem a: the golden fails. Repair it.", code=code)
    return Verdict(outcome=outcome, stage=Stage.SIMULATE, seed=1, diagnostics=(diagnostic,))


def test_a_golden_that_fails_is_an_erratum_and_a_lost_tool_is_none():
    broken = verdict_of(Outcome.TOOL_ERROR, PROBLEM_FAULT)
    found = shown_errata([("a", broken), ("b", verdict_of(Outcome.TOOL_ERROR, "ToolNotFound"))])
    assert found == {"a": Erratum(problem_id="a", kinds=("golden_fails",), note="the golden fails. Repair it.")}
    assert shown_errata([("a", verdict_of(Outcome.MISMATCH, "stock_testbench"))]) == {}


def test_errata_of_a_problem_are_joined():
    first = Erratum(problem_id="a", kinds=("weak_testbench",), note="one")
    second = Erratum(problem_id="a", kinds=("golden_fails", "weak_testbench"), note="two")
    both = Erratum(problem_id="a", kinds=("weak_testbench", "golden_fails"), note="one; two")
    assert merged(first, None, second) == both
    assert merged(None) is None
