"""Passes put to proof: what is proved different does not pass, and nothing else changes."""

from contextlib import closing
from dataclasses import replace

import pytest
from stock_checkout import PROBLEMS

from hdl_bench.proofs import is_provable, prove_passes, verdict_with
from verifiers.cache import DiskCache
from verifiers.formal import FormalOutcome, FormalProver, FormalResult
from verifiers.judgement import Judgement
from verifiers.types import (
    Candidate,
    Outcome,
    PassRule,
    Problem,
    Protocol,
    ReferenceOracle,
    Stage,
    TestbenchOracle,
    Verdict,
)

ORACLE = TestbenchOracle(
    testbench="", rule=PassRule.MISMATCH_COUNT, golden="module RefModule; endmodule", golden_top="RefModule"
)
PASSED = Verdict(outcome=Outcome.PASSED, stage=Stage.COMPARE, seed=1)
DIFFERENT = FormalResult(
    outcome=FormalOutcome.DIFFERENT, reason="expected 1, got 0", output="q", method="sat", counterexample=({}, {})
)


def problem_of(oracle) -> Problem:
    return Problem(problem_id="p", source="", prompt="", top_module="TopModule", ports=None, oracle=oracle)


@pytest.mark.parametrize(
    ("oracle", "expected"),
    [
        (ORACLE, True),
        (replace(ORACLE, protocol=Protocol()), True),
        (replace(ORACLE, protocol=Protocol(one_hot=("state",))), False),
        (replace(ORACLE, golden=None, golden_top=None), False),
        (ReferenceOracle(golden="", golden_top="RefModule"), False),
    ],
)
def test_only_stock_testbenches_with_a_golden_and_free_inputs_are_provable(oracle, expected):
    assert is_provable(problem_of(oracle)) is expected


def test_proved_different_is_a_mismatch_that_says_where():
    verdict = verdict_with(PASSED, DIFFERENT)
    assert verdict.outcome is Outcome.MISMATCH
    assert verdict.diagnostics[-1].code == "formal"
    assert "after 2 rows of inputs output q differs, expected 1, got 0" in verdict.diagnostics[-1].message


@pytest.mark.parametrize("outcome", [FormalOutcome.EQUIVALENT, FormalOutcome.UNKNOWN])
def test_any_other_proof_changes_nothing(outcome):
    assert verdict_with(PASSED, FormalResult(outcome=outcome)) is PASSED


class FakeProver:
    def __init__(self) -> None:
        self.asked = []

    def prove(self, *, candidate, **_) -> FormalResult:
        self.asked.append(candidate)
        if candidate == "hard":
            return FormalResult(outcome=FormalOutcome.UNKNOWN, reason="no time")
        return DIFFERENT if candidate == "bad" else FormalResult(outcome=FormalOutcome.EQUIVALENT)


def test_only_passes_are_proved_and_equal_ones_once():
    problem = problem_of(replace(ORACLE, golden="module RefModule(input a, output y); endmodule"))
    failed = replace(PASSED, outcome=Outcome.MISMATCH)
    judgements = [
        Judgement(candidate=Candidate(text=text), verdict=verdict)
        for text, verdict in (("good", PASSED), ("bad", PASSED), ("other", failed), ("good", PASSED))
    ]
    prover, told = FakeProver(), []
    answers = prove_passes([problem] * 4, judgements, prover, told.append)
    assert prover.asked == ["good", "bad"]
    assert told == [1, 2, 3, 4]
    assert [(verdict.passed, proof) for verdict, proof in answers] == [
        (True, FormalOutcome.EQUIVALENT),
        (False, FormalOutcome.DIFFERENT),
        (False, None),
        (True, FormalOutcome.EQUIVALENT),
    ]


@pytest.mark.tool
def test_a_proof_that_decided_is_kept_and_an_unknown_is_tried_again(tmp_path):
    problem = problem_of(replace(ORACLE, golden="module RefModule(input a, output y); endmodule"))
    judgements = [Judgement(candidate=Candidate(text=text), verdict=PASSED) for text in ("good", "bad", "hard")]
    with closing(DiskCache(tmp_path / "cache.db")) as cache:
        provers = FakeProver(), FakeProver()
        answers = [prove_passes([problem] * 3, judgements, p, lambda done: None, cache=cache) for p in provers]
    assert answers[0] == answers[1]
    assert [prover.asked for prover in provers] == [["good", "bad", "hard"], ["hard"]]


@pytest.mark.tool
@pytest.mark.slow
def test_a_counter_that_skips_a_value_is_proved_different():
    pytest.importorskip("pyosys", reason="formal equivalence is an extra")
    counter = next(problem for problem in PROBLEMS if problem.name == "Prob906_areset")
    oracle = replace(ORACLE, golden=counter.source("RefModule"))
    wrong = counter.source("TopModule").replace("q <= q + 1", "q <= q == 63 ? 0 : q + 1")
    judgements = [
        Judgement(candidate=Candidate(text=text), verdict=PASSED) for text in (wrong, counter.source("TopModule"))
    ]
    with FormalProver() as prover:
        answers = prove_passes([problem_of(oracle)] * 2, judgements, prover, lambda num_done: None)
    assert [proof for _, proof in answers] == [FormalOutcome.DIFFERENT, FormalOutcome.EQUIVALENT]
    assert [verdict.passed for verdict, _ in answers] == [False, True]
