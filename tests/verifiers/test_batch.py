"""Groups judged together: each verdict is the one that the candidate gets alone, whatever its neighbours do."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stock_checkout import PROBLEMS

from hdl_bench.procedural.problems import make_problems
from verifiers import batch as batch_module
from verifiers.batch import renamed_design, verify_group
from verifiers.errors import AUDIT_CODE
from verifiers.interface import ports_of
from verifiers.mutate import mutants_of
from verifiers.simulate import Failure
from verifiers.types import Candidate, Outcome, PassRule, Problem, ReferenceOracle, TestbenchOracle
from verifiers.verify import Verifier

_GOLDEN = """module TopModule(input clk, input rst, input [3:0] d, output reg [3:0] q, output any);
  always @(posedge clk)
    if (rst) q <= 4'd0;
    else q <= q + d;
  assign any = |q;
endmodule
"""
_TWO_MODULES = """module part(input [3:0] a, b, output [3:0] y); assign y = a + b; endmodule : part
module TopModule(input clk, input rst, input [3:0] d, output reg [3:0] q, output any);
  wire [3:0] part_y; // part
  part part(.a(q), .b(d), .y(part_y));
  always @(posedge clk) if (rst) q <= 0; else q <= part_y;
  assign any = q != 0;
endmodule
"""
_WRONG_PART = _TWO_MODULES.replace("a + b", "a - b")
_HANG = _GOLDEN.replace("endmodule", "  wire loop;\n  assign #0 loop = ~(loop === 1'b1);\nendmodule")
_MACRO = "`define SUM q + d\n" + _GOLDEN.replace("q + d", "`SUM")
_NO_NET_TYPE = "`default_nettype none\n" + _GOLDEN
_IMPLICIT_NET = _GOLDEN.replace("assign any = |q;", "assign hidden = |q; assign any = hidden;")
_TIME_SCALE = "`timescale 1us/1ns\n" + _GOLDEN.replace("q <= q + d", "q <= #1 q + d")
_PACKAGE = "package p; parameter Z = 0; endpackage\n" + _GOLDEN.replace("4'd0", "p::Z")
_FILE_SCOPE = "function automatic [3:0] f(input [3:0] x); f = x; endfunction\n" + _GOLDEN.replace("q + d", "q + f(d)")
_UNDECLARED = _GOLDEN.replace("q + d", "q + e")
_FINISH = _GOLDEN.replace("endmodule", "initial $finish;\nendmodule")
_DELAYED = _GOLDEN.replace("assign any", "assign #3 any")
_MIX = (
    _GOLDEN, _TWO_MODULES, _WRONG_PART, _MACRO, _NO_NET_TYPE, _IMPLICIT_NET, _TIME_SCALE, _PACKAGE, _FILE_SCOPE,
    _UNDECLARED, _FINISH, _DELAYED, _GOLDEN.replace("|q", "^q"), _GOLDEN.replace("posedge", "negedge"),
)  # fmt: skip
_PROBLEM = Problem(
    problem_id="accumulator",
    source="test",
    prompt="",
    top_module="TopModule",
    ports=None,
    oracle=ReferenceOracle(golden=_GOLDEN, golden_top="TopModule"),
)


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return Verifier()


def _together(verifier, problem, texts, seeds=(1,), audit_fraction=0.0):
    verdicts = verify_group(
        verifier, problem, [Candidate(text=text) for text in texts], seeds, audit_fraction=audit_fraction
    )
    return [replace(verdict, duration_s=0.0) for verdict in verdicts]


def _alone(verifier, problem, texts, seeds=(1,)):
    return [replace(verifier.verify(problem, Candidate(text=text), seeds), duration_s=0.0) for text in texts]


class _Spy:
    """Counts the designs of each simulation."""

    def __init__(self, verifier, monkeypatch) -> None:
        self.sizes: list[int] = []
        simulate = type(verifier.simulator).simulate
        monkeypatch.setattr(
            type(verifier.simulator),
            "simulate",
            lambda own, designs, *rest, **named: (
                self.sizes.append(len(designs)) or simulate(own, designs, *rest, **named)
            ),
        )


@pytest.mark.tool
@pytest.mark.parametrize("seeds", [(1,), (1, 2)])
def test_verdicts_of_a_mixed_group_are_those_of_its_members_alone(verifier, seeds):
    assert _together(verifier, _PROBLEM, _MIX, seeds) == _alone(verifier, _PROBLEM, _MIX, seeds)


@pytest.mark.tool
def test_members_that_can_share_a_simulation_do_and_the_others_run_alone(verifier, monkeypatch):
    _alone(verifier, _PROBLEM, [_GOLDEN])  # the golden's trace is known now
    spy = _Spy(verifier, monkeypatch)
    _together(verifier, _PROBLEM, _MIX)
    alone = [_MACRO, _TIME_SCALE, _PACKAGE, _FILE_SCOPE]
    static = [_UNDECLARED, _FINISH]
    assert sorted(spy.sizes) == [1] * len(alone) + [len(_MIX) - len(alone) - len(static)]


@pytest.mark.tool
@pytest.mark.slow
def test_a_member_that_hangs_takes_nobody_along(verifier):
    outcomes = [verdict.outcome for verdict in _together(verifier, _PROBLEM, [_GOLDEN, _HANG, _WRONG_PART])]
    assert outcomes == [Outcome.PASSED, Outcome.TIMEOUT, Outcome.MISMATCH]


@pytest.mark.tool
def test_equal_designs_are_run_once_whatever_their_line_ends(verifier, monkeypatch):
    _alone(verifier, _PROBLEM, [_GOLDEN])
    spy = _Spy(verifier, monkeypatch)
    verdicts = _together(verifier, _PROBLEM, [_GOLDEN, _WRONG_PART, _GOLDEN, _GOLDEN.replace("\n", "\r\n")])
    assert spy.sizes == [2]
    assert [verdict.passed for verdict in verdicts] == [True, False, True, True]


@pytest.mark.tool
def test_an_audit_that_finds_another_verdict_is_our_failure(verifier, monkeypatch, caplog):
    play_together = batch_module._play_together

    def swapped(*arguments):
        verdicts = play_together(*arguments)
        return dict(zip(verdicts, reversed(verdicts.values()), strict=True))

    monkeypatch.setattr(batch_module, "_play_together", swapped)
    verdicts = _together(verifier, _PROBLEM, [_GOLDEN, _WRONG_PART], audit_fraction=1.0)
    assert [verdict.outcome for verdict in verdicts] == [Outcome.TOOL_ERROR] * 2
    assert all(verdict.diagnostics[0].code == AUDIT_CODE for verdict in verdicts)
    assert "accumulator" in caplog.text


@pytest.mark.tool
def test_an_audit_that_agrees_changes_nothing(verifier):
    texts = [_GOLDEN, _WRONG_PART]
    assert _together(verifier, _PROBLEM, texts, audit_fraction=1.0) == _alone(verifier, _PROBLEM, texts)


@pytest.mark.tool
def test_a_batch_without_a_result_is_run_alone(verifier, monkeypatch):
    simulate = type(verifier.simulator).simulate
    lost = Failure(stage="simulate", ending="crash", diagnostics=())
    monkeypatch.setattr(
        type(verifier.simulator),
        "simulate",
        lambda own, designs, *rest, **named: lost if len(designs) > 1 else simulate(own, designs, *rest, **named),
    )
    assert [verdict.passed for verdict in _together(verifier, _PROBLEM, [_GOLDEN, _WRONG_PART])] == [True, False]


@pytest.mark.tool
def test_procedural_problems_with_mutants_are_judged_alike(verifier):
    for problem in make_problems(families=None, levels=(1, 3, 5), split="train", num_problems=12, seed=5):
        golden = problem.oracle.golden
        mutants = mutants_of(golden, problem.top_module, problem.ports, seed=2, limit=3)
        texts = [golden, *(mutant.text for mutant in mutants)]
        assert _together(verifier, problem, texts) == _alone(verifier, problem, texts), problem.problem_id


def _stock(problem) -> Problem:
    oracle = TestbenchOracle(
        testbench=problem.harness(),
        rule=PassRule.MISMATCH_COUNT,
        top="tb",
        golden=problem.source("RefModule"),
        golden_top="RefModule",
    )
    return Problem(problem_id=problem.name, source="test", prompt="", top_module="TopModule", ports=None, oracle=oracle)


@pytest.mark.tool
@pytest.mark.slow
@pytest.mark.parametrize("source", PROBLEMS, ids=lambda source: source.name)
def test_copies_of_a_stock_testbench_find_what_it_finds_alone(source, verifier):
    problem, golden = _stock(source), source.source("TopModule")
    mutants = mutants_of(golden, "TopModule", ports_of(golden, "TopModule"), seed=1, limit=4)
    texts = [golden, *(mutant.text for mutant in mutants)]
    designs = [renamed_design(text, "TopModule") for text in texts]
    findings = verifier.stock.judge_together(problem, designs)
    assert findings is not None, "the batch gave no result"
    assert list(findings) == [verifier.stock.judge(problem, text) for text in texts]
    assert _together(verifier, problem, texts) == _alone(verifier, problem, texts)


def test_all_places_of_a_module_name_are_renamed_and_nothing_else():
    design = renamed_design(_TWO_MODULES, "TopModule")
    suffix = design.top.removeprefix("TopModule")
    assert len(suffix) > 8
    assert design.text.count(suffix) == 4  # two modules, one end label, one instantiation
    assert f"part{suffix} part(" in design.text
    assert design.text.replace(suffix, "") == _TWO_MODULES


@pytest.mark.parametrize("text", [_MACRO, _TIME_SCALE, _PACKAGE, _FILE_SCOPE])
def test_a_design_that_would_share_something_is_not_renamed(text):
    assert renamed_design(text, "TopModule") is None


@settings(max_examples=60, deadline=None)
@given(
    names=st.lists(st.from_regex(r"[a-z0-9_]{1,4}", fullmatch=True).map(lambda n: f"m_{n}"), min_size=1, unique=True),
    comment=st.text(alphabet="m_abc \u00e9module", max_size=20),
)
def test_renaming_is_undone_by_taking_the_suffix_away(names, comment):
    parts = "".join(f"module {name}; endmodule // {comment}\n" for name in names)
    instances = "".join(f"  {name} i{index} ();\n" for index, name in enumerate(names))
    text = f"{parts}module Top;\n{instances}endmodule\n"
    design = renamed_design(text, "Top")
    suffix = design.top.removeprefix("Top")
    assert design.text.count(suffix) == 2 * len(names) + 1
    assert design.text.replace(suffix, "") == text
