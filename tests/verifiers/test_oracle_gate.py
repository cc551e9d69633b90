"""The oracle gate: what is sound, and each reason for quarantine."""

import pytest

from verifiers.oracle_gate import check_problem, constant_module, renamed
from verifiers.types import Candidate, Clock, Port, Problem, Protocol, ReferenceOracle, Reset
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


def test_a_good_problem_is_sound_though_its_golden_has_another_name(verifier):
    check = check_problem(_problem(_COUNTER, _CLOCKED), verifier)
    assert check.reasons == ()
    assert check.is_sound
    assert check.num_samples > 1000


def test_a_problem_without_protocol_is_sound_by_inference(verifier):
    assert check_problem(_problem(_COUNTER), verifier).reasons == ()


def test_a_constant_golden_is_sound_since_constants_are_right(verifier):
    assert check_problem(_combinational("assign y = 1'b0;"), verifier).reasons == ()


def test_an_output_that_the_stimulus_does_not_move_is_a_reason(verifier):
    slow = _COUNTER.replace("[3:0] q", "[15:0] q").replace("1'b1;", "q[15];")
    check = check_problem(_problem(slow, _CLOCKED), verifier)
    assert [reason.split(" never")[0] for reason in check.reasons] == ["output tied"]


def test_a_golden_that_leaves_an_output_open_is_a_reason(verifier):
    reasons = check_problem(_combinational("assign y = a == 8'd7 ? 1'b1 : 1'bx;"), verifier).reasons
    assert any("is known in" in reason for reason in reasons)
    assert any("the constant 1 passes" in reason for reason in reasons)


def test_a_golden_that_does_not_compile_is_a_reason(verifier):
    (reason,) = check_problem(_combinational("assign y = b;"), verifier).reasons
    assert "b" in reason


def test_a_golden_that_the_screen_forbids_is_a_reason(verifier):
    (reason,) = check_problem(_combinational('assign y = ^a; initial $display("hi");'), verifier).reasons
    assert reason.startswith("the golden fails: forbidden_construct")


def test_a_golden_that_differs_from_run_to_run_is_a_reason(verifier, monkeypatch):
    problem = _combinational("assign y = ^a;")
    other = _combinational("assign y = ~^a;")
    run = verifier.goldens.run
    monkeypatch.setattr(
        verifier.goldens,
        "run",
        lambda asked, seed, *, is_fresh=False: run(other if is_fresh else asked, seed, is_fresh=is_fresh),
    )
    reasons = check_problem(problem, verifier).reasons
    assert len([reason for reason in reasons if "differ between two runs" in reason]) == 3


@pytest.mark.parametrize(("bit", "text"), [("0", "{3{1'b0}}"), ("1", "{3{1'b1}}")])
def test_a_constant_module_ties_every_output_bit(verifier, bit, text):
    ports = (Port(name="a", direction="input", width=2), Port(name="y", direction="output", width=3))
    source = constant_module("TopModule", ports, bit)
    assert text in source
    golden = f"module RefModule(input [1:0] a, output [2:0] y);\n  assign y = {text};\nendmodule\n"
    assert verifier.verify(_problem(golden, Protocol()), Candidate(text=source), (1,)).passed


def test_renaming_touches_the_identifier_only_where_it_stands_alone():
    source = "module Ref; // Ref here\n  wire Ref_2, aRef;\n  Ref u();\nendmodule\n"
    assert renamed(source, "Ref", "Top") == ("module Top; // Ref here\n  wire Ref_2, aRef;\n  Top u();\nendmodule\n")
