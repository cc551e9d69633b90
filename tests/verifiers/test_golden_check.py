"""What a golden shows of itself: it passes, repeats itself, says enough, and no cheat passes in its place."""

from dataclasses import replace

import pytest

from toolchain.errors import InfrastructureError
from verifiers.cheats import cheats_of, constant_module
from verifiers.golden_check import GoldenCheck, check_golden
from verifiers.lexer import rename_identifier
from verifiers.types import (
    Candidate,
    Clock,
    Outcome,
    PassRule,
    Port,
    Problem,
    Protocol,
    ReferenceOracle,
    Reset,
    TestbenchOracle,
)
from verifiers.verify import Verifier

pytestmark = pytest.mark.tool

_COUNTER = """module RefModule(input clk, input rst, output reg [3:0] q, output tied);
  always @(posedge clk) if (rst) q <= 0; else q <= q + 1;
  assign tied = 1'b1;
endmodule
"""
_CLOCKED = Protocol(clocks=(Clock(name="clk"),), resets=(Reset(name="rst"),))


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return Verifier(isolation="rlimits")


def _problem(golden: str, protocol: Protocol | None = None) -> Problem:
    oracle = ReferenceOracle(golden=golden, golden_top="RefModule", protocol=protocol)
    return Problem(problem_id="p", source="test", prompt="", top_module="TopModule", ports=None, oracle=oracle)


def _combinational(body: str) -> Problem:
    return _problem(f"module RefModule(input [7:0] a, output y);\n  {body}\nendmodule\n", Protocol())


def _check(problem: Problem, verifier: Verifier) -> GoldenCheck:
    return check_golden(problem, verifier, seed=0)


def test_a_good_golden_has_nothing_against_it_though_it_has_another_name(verifier):
    check = _check(_problem(_COUNTER, _CLOCKED), verifier)
    assert check.reasons == ()
    assert check.passing_constants == ()
    assert check.num_samples > 1000
    assert check.protocol == _CLOCKED
    assert [port.name for port in check.ports] == ["clk", "rst", "q", "tied"]
    assert all("module TopModule(" in mutant.text for mutant in check.mutants)
    assert {"edge", "constant", "operator"} <= {mutant.operator for mutant in check.mutants}


def test_a_golden_without_protocol_is_checked_by_inference(verifier):
    check = _check(_problem(_COUNTER), verifier)
    assert check.reasons == ()
    assert (check.protocol.clocks, check.protocol.resets) == (_CLOCKED.clocks, _CLOCKED.resets)


def test_constants_that_pass_are_left_to_proof(verifier):
    check = _check(_combinational("assign y = a == 8'd7 & a == 8'd9;"), verifier)
    assert [cheat.name for cheat in check.passing_constants] == ["the constant 0", "the best constant"]


def test_an_output_that_the_stimulus_does_not_move_is_a_reason(verifier):
    slow = _COUNTER.replace("[3:0] q", "[15:0] q").replace("1'b1;", "q[15];")
    check = _check(_problem(slow, _CLOCKED), verifier)
    assert [reason.split(" never")[0] for reason in check.reasons] == ["output tied"]


def test_a_golden_that_leaves_an_output_open_is_a_reason(verifier):
    check = _check(_combinational("assign y = a == 8'd7 ? 1'b1 : 1'bx;"), verifier)
    assert any("is known in" in reason for reason in check.reasons)
    assert [cheat.name for cheat in check.passing_constants] == ["the constant 1", "the best constant"]


def test_a_golden_that_does_not_compile_is_a_reason(verifier):
    (reason,) = _check(_combinational("assign y = b;"), verifier).reasons
    assert "b" in reason


def test_a_golden_that_the_screen_forbids_is_a_reason(verifier):
    (reason,) = _check(_combinational('assign y = ^a; initial $display("hi");'), verifier).reasons
    assert reason.startswith("the golden fails: forbidden_construct")


def test_an_oracle_without_a_golden_is_a_reason(verifier):
    oracle = TestbenchOracle(testbench="module tb; endmodule", rule=PassRule.BANNER)
    (reason,) = _check(replace(_combinational(""), oracle=oracle), verifier).reasons
    assert "no golden" in reason


def test_a_golden_that_differs_from_run_to_run_is_a_reason(verifier, monkeypatch):
    problem = _combinational("assign y = ^a;")
    other = _combinational("assign y = ~^a;")
    run = verifier.goldens.run
    monkeypatch.setattr(
        verifier.goldens,
        "run",
        lambda asked, seed, *, is_fresh=False, **options: run(other if is_fresh else asked, seed, is_fresh=is_fresh),
    )
    (reason,) = _check(problem, verifier).reasons
    assert reason.startswith("the golden differs between 3 runs")


def test_verdicts_that_differ_from_run_to_run_are_a_reason(verifier, monkeypatch):
    judge, calls = verifier.judge, []

    def fickle(problem, text, seeds):
        calls.append(seeds)
        judgement = judge(problem, text, seeds)
        return replace(judgement, verdict=replace(judgement.verdict, num_samples=len(calls)))

    monkeypatch.setattr(verifier, "judge", fickle)
    (reason,) = _check(_combinational("assign y = ^a;"), verifier).reasons
    assert reason.startswith("the golden differs between 3 runs")
    assert len(calls) == 5
    assert len(set(calls)) == 3


def test_a_golden_that_no_tool_could_run_is_a_failure_of_ours(verifier, monkeypatch):
    def lost(problem, seed, **options):
        raise InfrastructureError("the sandbox is gone")

    monkeypatch.setattr(verifier.goldens, "run", lost)
    check = _check(_problem(_COUNTER, _CLOCKED), verifier)
    assert check.reasons == check.mutants == ()
    (failure,) = check.failures
    assert "the sandbox is gone" in failure


def test_a_cheat_that_passes_is_a_reason(verifier, monkeypatch):
    verify = verifier.verify

    def fooled(problem, candidate, seeds):
        verdict = verify(problem, candidate, seeds)
        return replace(verdict, outcome=Outcome.PASSED) if "final begin" in candidate.text else verdict

    monkeypatch.setattr(verifier, "verify", fooled)
    (reason,) = _check(_combinational("assign y = ^a;"), verifier).reasons
    assert reason == "a module that prints pass lines at the end passes"


def test_a_cheat_that_could_not_be_tried_is_a_failure_of_ours(verifier, monkeypatch):
    verify = verifier.verify

    def broken(problem, candidate, seeds):
        verdict = verify(problem, candidate, seeds)
        return replace(verdict, outcome=Outcome.TOOL_ERROR) if "4'bxxxx" in candidate.text else verdict

    monkeypatch.setattr(verifier, "verify", broken)
    check = _check(_problem(_COUNTER, _CLOCKED), verifier)
    assert check.reasons == ()
    (failure,) = check.failures
    assert failure.startswith("a module of unknowns could not be tried: tool_error")


@pytest.mark.parametrize("value", ["000", "111", "010"])
def test_a_constant_module_ties_every_output_bit(verifier, value):
    ports = (Port(name="a", direction="input", width=2), Port(name="y", direction="output", width=3))
    source = constant_module("TopModule", ports, {"y": value})
    golden = f"module RefModule(input [1:0] a, output [2:0] y);\n  assign y = 3'b{value};\nendmodule\n"
    assert verifier.verify(_problem(golden, Protocol()), Candidate(text=source), (1,)).passed


def test_the_best_constant_is_the_golden_s_most_frequent_known_value():
    ports = (Port(name="y", direction="output", width=2), Port(name="z", direction="output"))
    cheats = cheats_of("TopModule", ports, "RefModule", {"y": ("1x", "1x", "1x", "10", "01", "10"), "z": ("x",)})
    (best,) = [cheat for cheat in cheats if cheat.name == "the best constant"]
    assert "assign y = 2'b10;" in best.text
    assert "assign z = 1'b0;" in best.text


def test_renaming_touches_the_identifier_only_where_it_stands_alone():
    source = "module Ref; // Ref here\n  wire Ref_2, aRef;\n  Ref u();\nendmodule\n"
    assert rename_identifier(source, "Ref", "Top") == (
        "module Top; // Ref here\n  wire Ref_2, aRef;\n  Top u();\nendmodule\n"
    )
