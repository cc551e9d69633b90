"""Verdicts, end to end on small designs: each outcome, and who is blamed for what."""

import dataclasses

import pytest

from toolchain.command import Command, CommandResult, FolderJob, FolderResult
from toolchain.errors import InfrastructureError
from toolchain.executor import LocalExecutor, run_in_folder
from toolchain.sandbox import choose_rung
from verifiers import verify as verify_module
from verifiers.types import (
    Candidate,
    Clock,
    Outcome,
    Port,
    Problem,
    Protocol,
    ReferenceOracle,
    Reset,
    Stage,
    Verdict,
)
from verifiers.verify import Verifier

pytestmark = pytest.mark.tool

_GOLDEN = """module TopModule(input clk, input rst, input [7:0] d, output reg [7:0] q, output any);
  always @(posedge clk or posedge rst)
    if (rst) q <= 8'd0;
    else q <= q + d;
  assign any = |q;
endmodule
"""
_PORTS = (
    Port(name="clk", direction="input"),
    Port(name="rst", direction="input"),
    Port(name="d", direction="input", width=8),
    Port(name="q", direction="output", width=8),
    Port(name="any", direction="output"),
)
_PROTOCOL = Protocol(clocks=(Clock(name="clk"),), resets=(Reset(name="rst", is_synchronous=False),))
_HANG = "  wire loop;\n  assign #0 loop = ~(loop === 1'b1);\nendmodule"


def _problem(golden: str = _GOLDEN, ports: tuple[Port, ...] | None = _PORTS, protocol: Protocol | None = _PROTOCOL):
    oracle = ReferenceOracle(golden=golden, golden_top="TopModule", protocol=protocol)
    return Problem(
        problem_id="accumulator", source="test", prompt="", top_module="TopModule", ports=ports, oracle=oracle
    )


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return Verifier(isolation="rlimits")


def _verify(verifier: Verifier, text: str, problem: Problem | None = None, seeds: tuple[int, ...] = (1,)) -> Verdict:
    return verifier.verify(problem or _problem(), Candidate(text=text), seeds)


def test_the_golden_passes_itself(verifier):
    verdict = _verify(verifier, _GOLDEN)
    assert verdict.outcome is Outcome.PASSED
    assert verdict.num_mismatches == 0
    assert verdict.num_samples > 300
    assert [score.name for score in verdict.outputs] == ["q", "any"]
    assert verdict.versions.keys() == {"iverilog", "vvp", "pyslang"}
    assert verdict.isolation == "rlimits"


def test_the_strongest_rung_of_this_machine_gives_the_same_verdict_and_is_named(verifier):
    auto = Verifier(isolation="auto")
    assert _verify(auto, _GOLDEN).isolation == choose_rung("auto")
    for text in (_GOLDEN, _GOLDEN.replace("q + d", "q - d")):
        ours, theirs = (
            dataclasses.replace(_verify(judge, text), isolation="", duration_s=0) for judge in (auto, verifier)
        )
        assert ours == theirs


@pytest.mark.parametrize("junk", ["\x00", "\ud800", "\r", "\f", "\u2028", "// \u00e9\n", "/* \U0001f600 */"])
def test_strange_characters_give_a_scored_verdict(verifier, junk):
    assert _verify(verifier, _GOLDEN.replace("endmodule", junk + "endmodule")).is_scored


def test_another_way_of_writing_it_passes(verifier):
    text = """module TopModule(clk, rst, d, q, any);
  input clk, rst;
  input [7:0] d;
  output [7:0] q;
  output any;
  reg [7:0] sum;
  wire [7:0] next = sum + d;
  always @(posedge clk, posedge rst) begin
    if (rst == 1'b1) sum <= 0; else sum <= next;
  end
  assign q = sum, any = (sum != 0);
endmodule
"""
    assert _verify(verifier, text).passed


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("q + d", "q - d"),
        ("posedge clk or posedge rst", "posedge clk"),  # a synchronous reset
        ("posedge clk", "negedge clk"),
        ("if (rst)", "if (!rst)"),
        ("|q", "^q"),
        ("|q", "|q[3:0]"),
        ("<= 8'd0", "<= 8'd1"),
        ("|q", "|d"),
    ],
)
def test_a_wrong_design_is_a_mismatch(verifier, old, new):
    verdict = _verify(verifier, _GOLDEN.replace(old, new))
    assert (verdict.outcome, verdict.stage) == (Outcome.MISMATCH, Stage.COMPARE)
    assert verdict.num_mismatches > 0
    assert verdict.first_mismatch.inputs[-1].keys() == {"clk", "rst", "d"}


def test_scores_by_output_tell_the_right_one_from_the_wrong_one(verifier):
    verdict = _verify(verifier, _GOLDEN.replace("|q", "1'b1"))
    q, any_bit = verdict.outputs
    assert (q.num_mismatches, q.matched_fraction) == (0, 1.0)
    assert 0 < any_bit.num_mismatches == verdict.num_mismatches
    # The candidate is itself a constant: it matches what the best constant does, or its complement.
    assert any_bit.matched_fraction in (
        pytest.approx(any_bit.constant_fraction),
        pytest.approx(1 - any_bit.constant_fraction),
    )


def test_equal_seeds_give_equal_verdicts_and_the_seed_is_in_them(verifier):
    text = _GOLDEN.replace("q + d", "q ^ d")
    first, second = (dataclasses.replace(_verify(verifier, text, seeds=(5,)), duration_s=0) for _ in range(2))
    assert first == second
    assert first.seed == 5


def test_a_pass_needs_every_seed_and_a_failure_names_its_own(verifier):
    assert _verify(verifier, _GOLDEN, seeds=(1, 2, 3)).seed == 3
    assert _verify(verifier, _GOLDEN.replace("|q", "~|q"), seeds=(4, 5)).seed == 4


def test_a_syntax_error_names_its_line(verifier):
    verdict = _verify(verifier, _GOLDEN.replace("q + d;", "q + ;"))
    assert verdict.outcome is Outcome.SYNTAX_ERROR
    assert verdict.diagnostics[0].line == 4


def test_an_elaboration_error_names_its_line(verifier):
    verdict = _verify(verifier, _GOLDEN.replace("q + d", "q + e"))
    assert verdict.outcome is Outcome.ELABORATION_ERROR
    assert verdict.diagnostics[0].line == 4


def test_what_only_the_compiler_refuses_is_mapped_to_the_candidates_lines(verifier, monkeypatch):
    monkeypatch.setattr(verify_module, "static_check", lambda text, top_module, ports: None)
    undeclared = _verify(verifier, _GOLDEN.replace("q + d", "q + e"))
    assert (undeclared.outcome, undeclared.stage) == (Outcome.ELABORATION_ERROR, Stage.COMPILE)
    assert undeclared.diagnostics[0].line == 4
    broken = _verify(verifier, _GOLDEN.replace("q + d;", "q + ;"))
    assert (broken.outcome, broken.stage) == (Outcome.SYNTAX_ERROR, Stage.COMPILE)


@pytest.mark.parametrize(
    "trick",
    [
        "initial $finish;",
        'initial $display("Mismatches: 0 in 439 samples");',
        'final $display("passed");',
        "initial forever #1 $stop;",
    ],
)
def test_tricks_fail_at_the_screen_and_again_at_the_trace(verifier, monkeypatch, trick):
    text = _GOLDEN.replace("endmodule", f"  {trick}\nendmodule")
    assert _verify(verifier, text).outcome is Outcome.FORBIDDEN_CONSTRUCT
    monkeypatch.setattr(verify_module, "static_check", lambda text, top_module, ports: None)
    second = _verify(verifier, text)
    assert second.outcome in (Outcome.MISMATCH, Outcome.ELABORATION_ERROR)


@pytest.mark.slow
def test_a_hang_in_zero_time_is_a_timeout(verifier):
    verdict = _verify(verifier, _GOLDEN.replace("endmodule", _HANG))
    assert (verdict.outcome, verdict.stage) == (Outcome.TIMEOUT, Stage.SIMULATE)


def test_endless_recursion_at_run_time_is_the_candidates(verifier):
    endless = """  function automatic [7:0] f(input [7:0] n);
    f = f(n + 8'd1) + 8'd1;
  endfunction
  reg [7:0] sink;
  always @(d) sink = f(d);
endmodule"""
    assert _verify(verifier, _GOLDEN.replace("endmodule", endless)).outcome is Outcome.RESOURCE_LIMIT


def test_a_completion_without_code_is_no_code(verifier):
    judgement = verifier.judge(_problem(), "I am sorry, I cannot do that.", (1,))
    assert judgement.candidate is None
    assert (judgement.verdict.outcome, judgement.verdict.stage) == (Outcome.NO_CODE, Stage.EXTRACT)


def test_a_completion_with_a_fenced_module_is_judged(verifier):
    completion = f"Here it is:\n\n```verilog\n{_GOLDEN}```\n"
    judgement = verifier.judge(_problem(), completion, (1,))
    assert judgement.verdict.passed
    assert judgement.candidate.text in completion


def test_ports_and_protocol_are_read_off_the_golden_when_the_problem_has_none(verifier):
    problem = _problem(ports=None, protocol=None)
    assert _verify(verifier, _GOLDEN, problem).passed
    assert not _verify(verifier, _GOLDEN.replace(" or posedge rst", ""), problem).passed


@pytest.mark.parametrize("golden", ["module TopModule(input clk); nonsense\n", _GOLDEN.replace("|q", "foo(q)")])
def test_a_golden_that_does_not_compile_is_our_failure_and_named(verifier, golden):
    verdict = _verify(verifier, _GOLDEN, _problem(golden=golden))
    assert verdict.outcome is Outcome.TOOL_ERROR
    assert not verdict.is_scored
    assert "accumulator" in verdict.diagnostics[0].message


def test_a_golden_that_says_nothing_passes_nobody(verifier):
    silent = _GOLDEN.replace("q <= 8'd0", "q <= 8'bx").replace("q + d", "8'bx").replace("|q", "1'bx")
    assert _verify(verifier, _GOLDEN, _problem(golden=silent)).outcome is Outcome.TOOL_ERROR


def test_inout_ports_are_said_to_be_unsupported(verifier):
    problem = _problem(ports=(*_PORTS, Port(name="pad", direction="inout")))
    verdict = _verify(verifier, _GOLDEN, problem)
    assert verdict.outcome is Outcome.TOOL_ERROR
    assert "inout" in verdict.diagnostics[0].message


class _CrashingExecutor:
    """Runs commands, but reports a crash of vvp for the calls whose numbers are listed."""

    isolation = "rlimits"

    def __init__(self, crashes: set[int]) -> None:
        self._local = LocalExecutor(isolation="rlimits")
        self._crashes = crashes
        self.num_vvp = 0

    def run(self, command: Command) -> CommandResult:
        result = self._local.run(command)
        if not command.argv[0].endswith("vvp"):
            return result
        self.num_vvp += 1
        is_crash = self.num_vvp in self._crashes
        return dataclasses.replace(result, returncode=-11, stdout="") if is_crash else result

    def run_job(self, job: FolderJob) -> FolderResult:
        return run_in_folder(self.run, job)


def _crash_at(monkeypatch, *calls: int) -> tuple[Verifier, _CrashingExecutor]:
    executor = _CrashingExecutor(set(calls))
    monkeypatch.setattr(verify_module, "local_executor", lambda isolation, scratch: executor)
    return Verifier(), executor


# The order of vvp's runs: 1 the golden, 2 the candidate, 3 the golden again, 4 the candidate again.
def test_a_crash_that_does_not_repeat_is_forgotten(monkeypatch):
    verifier, executor = _crash_at(monkeypatch, 2)
    assert _verify(verifier, _GOLDEN).passed
    assert executor.num_vvp == 4


def test_a_crash_that_repeats_while_the_golden_runs_is_the_candidates(monkeypatch):
    verifier, _ = _crash_at(monkeypatch, 2, 4)
    assert _verify(verifier, _GOLDEN).outcome is Outcome.RESOURCE_LIMIT


def test_a_crash_that_the_golden_shares_is_ours(monkeypatch):
    verifier, _ = _crash_at(monkeypatch, 2, 3, 4)
    assert _verify(verifier, _GOLDEN).outcome is Outcome.TOOL_ERROR


def test_the_golden_is_run_once_a_seed(monkeypatch):
    verifier, executor = _crash_at(monkeypatch)
    for _ in range(3):
        _verify(verifier, _GOLDEN.replace("|q", "^q"))
    assert executor.num_vvp == 4  # one golden, three candidates


def test_the_golden_leaves_no_trace_in_the_candidates_folder(monkeypatch):
    verifier, executor = _crash_at(monkeypatch)
    seen: dict[str, list[str]] = {}
    run = executor.run

    def spy(command: Command) -> CommandResult:
        for path in command.cwd.iterdir():
            seen.setdefault(str(command.cwd), []).append(path.read_text(errors="replace"))
        return run(command)

    monkeypatch.setattr(executor, "run", spy)
    marked = _GOLDEN.replace("rst)", "rst) /* golden-mark */", 1)
    _verify(verifier, _GOLDEN, _problem(golden=marked))
    holders = [folder for folder, texts in seen.items() if any("golden-mark" in text for text in texts)]
    assert len(seen) == 2
    assert len(holders) == 1


def test_a_problem_error_names_the_problem(verifier):
    with pytest.raises(InfrastructureError, match="problem accumulator: the golden fails at compile"):
        verifier.goldens.run(_problem(golden=_GOLDEN.replace("|q", "foo(q)")), 1)
