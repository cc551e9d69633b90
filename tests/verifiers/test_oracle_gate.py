"""The oracle gate: mutation scores, what a proof does to them, and the reasons for quarantine."""

from concurrent.futures import Future
from dataclasses import dataclass, field, replace

import pytest

from verifiers.farm import Farm
from verifiers.formal import FormalOutcome, FormalResult
from verifiers.judgement import Judgement
from verifiers.oracle_gate import JudgingFarm, OracleGate, Prover
from verifiers.problem_check import ProblemCheck
from verifiers.seeds import group_seed
from verifiers.types import (
    Clock,
    Outcome,
    PassRule,
    Port,
    Problem,
    Protocol,
    ReferenceOracle,
    Reset,
    Stage,
    TestbenchOracle,
    Verdict,
)
from verifiers.worker_process import WorkerLost, WorkerProcess

pytestmark = pytest.mark.tool

_CLOCKED = Protocol(clocks=(Clock(name="clk"),), resets=(Reset(name="rst"),))
_COUNTER = """module RefModule(input clk, input rst, output reg [3:0] q);
  wire [4:0] next = {1'b0, q} + 5'd1;
  always @(posedge clk) if (rst) q <= 0; else q <= next[3:0];
endmodule
"""


@dataclass
class FakeProver:
    """Says `outcome` of everything, or `others` by a part of the candidate's text; keeps what it was asked."""

    outcome: FormalOutcome
    others: dict[str, FormalOutcome] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def prove(  # noqa: PLR0913  (the prover's own signature)
        self,
        *,
        golden: str,
        golden_top: str,
        candidate: str,
        candidate_top: str,
        ports: tuple[Port, ...],
        protocol: Protocol,
        wall_s: float,
    ) -> FormalResult:
        assert f"module {golden_top}" in golden
        assert f"module {candidate_top}" in candidate
        assert ports
        self.asked.append(candidate)
        found = [outcome for part, outcome in self.others.items() if part in candidate]
        return FormalResult(outcome=found[0] if found else self.outcome, reason="as told")


@pytest.fixture(scope="module")
def farm():
    with Farm(num_workers=1, isolation="rlimits") as farm:
        yield farm


def _problem(golden: str, protocol: Protocol | None = None, problem_id: str = "p") -> Problem:
    oracle = ReferenceOracle(golden=golden, golden_top="RefModule", protocol=protocol)
    return Problem(problem_id=problem_id, source="test", prompt="", top_module="TopModule", ports=None, oracle=oracle)


def _check(farm: JudgingFarm, problem: Problem, prover: Prover | None) -> ProblemCheck:
    with OracleGate(farm=farm, prover=prover) as gate:
        (check,) = gate.check([problem])
    return check


def test_a_good_problem_is_sound_and_its_equivalent_mutants_do_not_count(farm):
    prover = FakeProver(FormalOutcome.EQUIVALENT)
    check = _check(farm, _problem(_COUNTER, _CLOCKED), prover)
    assert check.reasons == ()
    assert check.is_sound
    assert check.survivors == ()
    assert check.mutation_score == 1.0
    # The sum's carry is not used: the width of `next`, and what is put in front of q, do not matter.
    assert check.num_equivalent == len(prover.asked) >= 3
    assert check.num_killed == check.num_mutants >= 10


def test_the_same_mutants_count_against_a_problem_where_nothing_proves_them_equivalent(farm):
    proved = _check(farm, _problem(_COUNTER, _CLOCKED), FakeProver(FormalOutcome.EQUIVALENT))
    check = _check(farm, _problem(_COUNTER, _CLOCKED), None)
    assert check.num_killed == proved.num_killed
    assert len(check.survivors) == proved.num_equivalent
    assert not any(survivor.is_different for survivor in check.survivors)
    (reason,) = check.reasons
    assert reason.startswith(f"{len(check.survivors)} of {check.num_mutants} mutants pass")
    assert reason.endswith(f"{len(check.survivors)} of these could not be decided")


def test_a_mutant_that_a_proof_tells_apart_is_listed_with_its_source_line(farm):
    prover = FakeProver(FormalOutcome.EQUIVALENT, others={"{1'b1, q}": FormalOutcome.DIFFERENT})
    (survivor,) = _check(farm, _problem(_COUNTER, _CLOCKED), prover).survivors
    assert survivor.is_different
    assert survivor.evidence == "different, as told"
    assert (survivor.mutant.line, survivor.mutant.before, survivor.mutant.after) == (2, "1'b0", "1'b1")
    assert survivor.mutant.source_line == "wire [4:0] next = {1'b0, q} + 5'd1;"


@dataclass(kw_only=True)
class StubFarm:
    """Passes every mutant, but for the one seed and the one text that end otherwise."""

    isolation: str = "rlimits"
    failing_seed: int = -1
    ends: dict[str, tuple[Outcome, Stage]] = field(default_factory=dict)  # part of a text -> how it ends
    is_broken_alone: bool = False  # without a golden nothing can be judged

    def submit(self, problem: Problem, completion_text: str, seeds: tuple[int, ...]) -> Future[Judgement]:
        outcome = Outcome.MISMATCH if seeds == (self.failing_seed,) else Outcome.PASSED
        found = [end for part, end in self.ends.items() if part in completion_text]
        outcome, stage = found[0] if found else (outcome, Stage.COMPARE)
        if self.is_broken_alone and problem.oracle.golden is None:
            outcome = Outcome.TOOL_ERROR
        future = Future()
        future.set_result(Judgement(candidate=None, verdict=Verdict(outcome=outcome, stage=stage, seed=seeds[0])))
        return future


def test_an_undecided_mutant_is_tried_under_more_seeds():
    seed = group_seed(0, "p", 103)
    prover = FakeProver(FormalOutcome.UNKNOWN)
    check = _check(StubFarm(failing_seed=seed), _problem(_COUNTER, _CLOCKED), prover)
    assert check.num_killed == 0
    assert {survivor.evidence for survivor in check.survivors} == {f"fails under seed {seed}"}
    assert all(survivor.is_different for survivor in check.survivors)
    check = _check(StubFarm(), _problem(_COUNTER, _CLOCKED), prover)
    assert {survivor.evidence for survivor in check.survivors} == {"unknown, as told"}


def test_what_the_simulator_does_not_compile_is_no_mutant_and_a_hang_is_a_killed_one():
    everything = _check(StubFarm(), _problem(_COUNTER, _CLOCKED), None)
    ends = {
        "negedge clk": (Outcome.ELABORATION_ERROR, Stage.COMPILE),
        "5'd2": (Outcome.TIMEOUT, Stage.COMPILE),
        "if (!(rst))": (Outcome.TIMEOUT, Stage.SIMULATE),
    }
    check = _check(StubFarm(ends=ends), _problem(_COUNTER, _CLOCKED), None)
    assert check.num_killed == 1
    assert check.num_mutants == everything.num_mutants - 2


def test_a_mutant_that_could_not_be_judged_is_a_failure_of_ours():
    ends = {"negedge clk": (Outcome.TOOL_ERROR, Stage.SIMULATE)}
    check = _check(StubFarm(ends=ends), _problem(_COUNTER, _CLOCKED), FakeProver(FormalOutcome.EQUIVALENT))
    assert check.failures == ("the mutant of line 3 could not be judged: tool_error",)
    assert check.reasons == ()
    assert not check.is_sound
    assert not check.is_quarantined


def test_nineteen_of_twenty_mutants_must_fail():
    failing = (Outcome.MISMATCH, Stage.COMPARE)
    all_fail = _check(StubFarm(ends={"module": failing}), _problem(_COUNTER, _CLOCKED), None)
    assert (all_fail.is_sound, all_fail.num_killed) == (True, all_fail.num_mutants)
    ends = {"negedge clk": (Outcome.PASSED, Stage.COMPARE), "module": failing}
    one_passes = _check(StubFarm(ends=ends), _problem(_COUNTER, _CLOCKED), None)
    assert 10 <= one_passes.num_mutants < 20  # so that one of them is more than a twentieth
    (reason,) = one_passes.reasons
    assert reason.startswith(f"1 of {one_passes.num_mutants} mutants pass")


def test_a_constant_that_passes_needs_a_proof(farm):
    zero = _problem("module RefModule(input [7:0] a, output y);\n  assign y = a[0] & ~a[0];\nendmodule\n", Protocol())
    outcomes = {"assign y = 1'b0;": FormalOutcome.EQUIVALENT}
    check = _check(farm, zero, FakeProver(FormalOutcome.UNKNOWN, others=outcomes))
    assert not any("constant 0" in reason for reason in check.reasons)
    check = _check(farm, zero, FakeProver(FormalOutcome.UNKNOWN))
    assert any(
        reason == "the constant 0 passes, and is not proved equivalent to the golden (unknown, as told)"
        for reason in check.reasons
    )


def test_few_mutants_are_reported_and_no_reason(farm):
    wire = _problem("module RefModule(input a, output y);\n  assign y = ~a;\nendmodule\n", Protocol())
    check = _check(farm, wire, None)
    assert check.has_few_mutants
    assert check.is_sound


def test_a_problem_that_does_not_compile_is_quarantined_and_the_next_one_is_checked(farm):
    broken = _problem("module RefModule(input a, output y);\n  assign y = ~b;\nendmodule\n", Protocol(), "broken")
    with OracleGate(farm=farm, prover=FakeProver(FormalOutcome.EQUIVALENT)) as gate:
        checks = list(gate.check([broken, _problem(_COUNTER, _CLOCKED, "good")]))
    assert [(check.problem_id, check.is_sound) for check in checks] == [("broken", False), ("good", True)]
    assert checks[0].mutation_score is None


@pytest.mark.parametrize("is_busy", [False, True])
def test_a_golden_that_ends_two_processes_is_quarantined_and_the_next_one_is_checked(farm, monkeypatch, is_busy):
    ask = WorkerProcess.ask
    monkeypatch.setattr("verifiers.oracle_gate.is_host_busy", lambda: is_busy)

    def die(worker, line, *, wall_s):
        if b'"fatal"' in line:
            worker.kill()
            raise WorkerLost("the worker died")
        return ask(worker, line, wall_s=wall_s)

    monkeypatch.setattr(WorkerProcess, "ask", die)
    problems = [_problem(_COUNTER, _CLOCKED, "fatal"), _problem(_COUNTER, _CLOCKED, "next")]
    with OracleGate(farm=farm, prover=FakeProver(FormalOutcome.EQUIVALENT)) as gate:
        checks = list(gate.check(problems))
    said = ("the golden could not be checked, in two processes: the worker died",)
    assert (checks[0].failures if is_busy else checks[0].reasons) == said
    assert checks[1].is_sound


def test_equal_seeds_give_equal_checks_and_another_seed_other_stimulus(farm):
    problem = _problem(_COUNTER, _CLOCKED)
    first, again = (_check(farm, problem, FakeProver(FormalOutcome.EQUIVALENT)) for _ in range(2))
    assert first == again
    with OracleGate(farm=farm, prover=FakeProver(FormalOutcome.EQUIVALENT), seed=1) as gate:
        (other,) = gate.check([problem])
    assert other.num_samples != first.num_samples


_LAZY_TESTBENCH = """module tb;
  reg clk = 0, rst = 1;
  wire [3:0] expected, got;
  integer errors = 0, samples = 0, i;
  RefModule golden(.clk(clk), .rst(rst), .q(expected));
  TopModule dut(.clk(clk), .rst(rst), .q(got));
  initial begin
    for (i = 0; i < 8; i = i + 1) begin
      #5 clk = 1;
      #5 clk = 0;
      rst = 0;
      samples = samples + 1;
      if (got !== expected) errors = errors + 1;
    end
    $display("Mismatches: %0d in %0d samples", errors, samples);
    $finish;
  end
endmodule
"""


_DECADE = _COUNTER.replace("wire [4:0] next = {1'b0, q} + 5'd1;", "wire [3:0] next = q == 4'd9 ? 4'd0 : q + 4'd1;")


def _stock(testbench: str) -> Problem:
    oracle = TestbenchOracle(
        testbench=testbench,
        rule=PassRule.MISMATCH_COUNT,
        golden=_DECADE,
        golden_top="RefModule",
        protocol=_CLOCKED,
    )
    return replace(_problem(_DECADE), oracle=oracle)


def test_a_testbench_of_its_own_is_measured_without_ours_beside_it(farm):
    # Eight cycles never come to nine: what happens there only our own testbench sees.
    check = _check(farm, _stock(_LAZY_TESTBENCH), FakeProver(FormalOutcome.EQUIVALENT))
    assert check.is_sound
    assert check.mutation_score == 1.0
    assert {("4'd9", "4'd10"), ("4'd0", "4'd1")} <= {(m.before, m.after) for m in check.testbench_survivors}
    assert "5'd1" not in {m.before for m in check.testbench_survivors}
    assert check.testbench_score == 1 - len(check.testbench_survivors) / check.num_mutants
    assert _check(farm, _problem(_DECADE, _CLOCKED), None).testbench_score is None


def test_a_testbench_that_gives_no_verdict_alone_has_no_score():
    farm = StubFarm(ends={"module": (Outcome.MISMATCH, Stage.COMPARE)}, is_broken_alone=True)
    check = _check(farm, _stock(_LAZY_TESTBENCH), None)
    assert (check.mutation_score, check.testbench_score) == (1.0, None)
