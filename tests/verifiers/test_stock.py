"""Stock testbenches as judges: what counts as a result, and whose fault a failure is."""

from contextlib import closing
from dataclasses import replace

import pytest
from stock_checkout import PROBLEMS

from toolchain.command import CommandResult
from toolchain.icarus import Ending
from verifiers.cache import DiskCache
from verifiers.errors import PROBLEM_FAULT, ProblemError
from verifiers.icarus_build import IcarusBuilder
from verifiers.simulate import Failure, local_executor
from verifiers.stock import StockFinding, StockJudge
from verifiers.stock_checker import StockChecker, StockJob, StockScore, read_score
from verifiers.types import Candidate, Outcome, PassRule, Port, Problem, Stage, TestbenchOracle
from verifiers.verify import Verifier

NONCE = "5eed5eed5eed5eed"
LINE = f"{NONCE} Mismatches: 0 in 12 samples\n"
ADDER = next(problem for problem in PROBLEMS if problem.name == "Prob902_adder")
PORTS = tuple(Port(name=name, direction=way, width=width) for way, width, name in ADDER.ports)


def problem_of(testbench: str | None = None, golden: str | None = "golden", ports=None) -> Problem:
    source = ADDER.source("RefModule") if golden == "golden" else golden
    oracle = TestbenchOracle(
        testbench=testbench or ADDER.harness(),
        rule=PassRule.MISMATCH_COUNT,
        top="tb",
        golden=source,
        golden_top="RefModule" if source else None,
    )
    return Problem(problem_id="adder", source="", prompt="", top_module="TopModule", ports=ports, oracle=oracle)


@pytest.fixture(scope="module")
def judge() -> StockJudge:
    return StockJudge(executor=local_executor())


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return Verifier()


class NoExecutor:
    """Runs nothing."""

    isolation = "none"

    def run_job(self, job):
        raise AssertionError("this was to be looked up")


@pytest.mark.tool
def test_a_goldens_score_is_known_to_the_next_judge_of_the_same_problem(tmp_path):
    problem = problem_of(testbench=f"`define NEVER 1\n{ADDER.harness()}")
    with closing(DiskCache(tmp_path / "cache.db")) as cache:
        score = StockJudge(executor=local_executor(), cache=cache).control(problem)
        assert score is not None
        assert score.num_samples > 0
        assert StockJudge(executor=NoExecutor(), cache=cache).control(problem) == score
        other = problem_of(testbench=f"`define NEVER 2\n{ADDER.harness()}")
        with pytest.raises(AssertionError, match="looked up"):
            StockJudge(executor=NoExecutor(), cache=cache).control(other)
        with pytest.raises(AssertionError, match="looked up"):
            StockJudge(executor=NoExecutor(), cache=cache).control(problem, is_fresh=True)


def test_the_result_is_the_line_with_the_nonce():
    text = f"Mismatches: 0 in 99 samples\nHint\n{NONCE} Mismatches: 3 in 12 samples\n"
    assert read_score(text, NONCE, PassRule.MISMATCH_COUNT) == StockScore(num_mismatches=3, num_samples=12)


@pytest.mark.parametrize(
    "text",
    [
        "Mismatches: 0 in 12 samples\n",
        "",
        LINE + LINE,
        f"{NONCE} Mismatches: 0 in 12 samples and more\n",
        f"{NONCE} Mismatches: x in 12 samples\n",
        f"beside {NONCE} Mismatches: 0 in 12 samples\n",
    ],
)
def test_no_other_text_is_a_result(text):
    assert isinstance(read_score(text, NONCE, PassRule.MISMATCH_COUNT), str)


@pytest.mark.parametrize(
    ("text", "score"),
    [
        (f"===={NONCE} Your Design Passed====\n", StockScore(num_mismatches=0, num_samples=1)),
        ("====Your Design Passed====\n", None),
        (f"{NONCE} Your Design Passed\n{NONCE} Your Design Passed\n", StockScore(num_mismatches=0, num_samples=2)),
        ("nothing\n", None),
        (f"{NONCE} Your Design Passed\nError at 3\n", StockScore(num_mismatches=1, num_samples=1)),
        ("===========Failed===========\n", StockScore(num_mismatches=1, num_samples=1)),
        ("===Test completed with 7 /100 failures===\n", StockScore(num_mismatches=1, num_samples=1)),
        ("===Test completed with          10 failures===\n", StockScore(num_mismatches=1, num_samples=1)),
        (f"{NONCE} Your Design Passed\nTest completed with 0 failures\n", StockScore(num_mismatches=0, num_samples=1)),
    ],
)
def test_banners_are_counted_where_no_failure_is_told(text, score):
    got = read_score(text, NONCE, PassRule.BANNER)
    assert got == score if score is not None else isinstance(got, str)


def job_of(design: str = "") -> StockJob:
    return StockJob(harness="module tb; endmodule", top="tb", nonce=NONCE, rule=PassRule.MISMATCH_COUNT, design=design)


def result_of(returncode: int = 0, stdout: str = "", stderr: str = "") -> CommandResult:
    return CommandResult(returncode=returncode, stdout=stdout, stderr=stderr, duration_s=0.1)


def test_the_harness_is_compiled_before_the_candidate_and_defaults_stand_between():
    checker = StockChecker(builder=IcarusBuilder(iverilog="/usr/bin/iverilog", direct=None), vvp="/usr/bin/vvp")
    files = checker.files(job_of("module TopModule; endmodule"))
    argv = checker.steps(job_of())[0].argv
    names = [name for name in argv if name in files]
    assert [files[name] for name in names] == ["module tb; endmodule", "`resetall\n", "module TopModule; endmodule"]
    assert argv[argv.index("-s") + 1] == "tb"


def test_logs_are_read_without_a_simulator():
    checker = StockChecker(builder=IcarusBuilder(iverilog="iverilog", direct=None), vvp="vvp")
    refused = checker.parse(job_of(), [result_of(2, stderr="design.v:3: syntax error\nI give up.\n")], {})
    assert isinstance(refused, Failure)
    assert (refused.stage, refused.ending) == (Stage.COMPILE, Ending.REFUSED)
    assert [(d.line, d.code) for d in refused.diagnostics] == [(3, "syntax")]
    score = checker.parse(job_of(), [result_of(), result_of(stdout=LINE)], {})
    assert score == StockScore(num_mismatches=0, num_samples=12)
    silent = checker.parse(job_of(), [result_of(), result_of(stdout="Mismatches: 0 in 12 samples\n")], {})
    assert isinstance(silent, Failure)
    assert (silent.stage, silent.ending, silent.is_odd) == (Stage.SIMULATE, Ending.CLEAN, True)
    crashed = checker.parse(job_of(), [result_of(), result_of(-11)], {})
    assert isinstance(crashed, Failure)
    assert crashed.ending is Ending.CRASH


@pytest.mark.tool
def test_the_golden_passes_with_its_own_number_of_samples(judge):
    finding = judge.judge(problem_of(), ADDER.source("TopModule"))
    assert isinstance(finding, StockFinding)
    assert finding.faults == ()
    assert finding.score == judge.control(problem_of())
    assert finding.score.num_samples == 40  # as many edges as the stimulus waits for


@pytest.mark.tool
def test_a_wrong_design_is_told_how_many_samples_differ(judge):
    finding = judge.judge(problem_of(), ADDER.source("TopModule").replace("a + b", "a - b"))
    assert isinstance(finding, StockFinding)
    assert finding.score.num_mismatches > 0
    assert "mismatches in" in finding.faults[0].message


@pytest.mark.tool
def test_fewer_samples_than_the_goldens_are_no_pass(judge):
    # A stimulus that ends when the candidate's sum is 21, which the golden's never is.
    testbench = (
        ADDER.harness()
        .replace("TIMEOUT", "late")
        .replace("  wire tb_mismatch", "  initial begin #100 if (sum_dut === 5'bz) $finish; end\n  wire tb_mismatch")
    )
    undriven = ADDER.source("TopModule").replace("  assign sum = a + b;", "  assign sum = 5'bz;")
    finding = judge.judge(problem_of(testbench), undriven)
    assert isinstance(finding, StockFinding)
    assert any("samples," in fault.message for fault in finding.faults)


@pytest.mark.tool
def test_a_golden_that_fails_its_testbench_is_the_problems_fault_for_every_candidate(judge, verifier):
    broken = problem_of(golden=ADDER.source("RefModule").replace("sum", "total"), ports=PORTS)
    with pytest.raises(ProblemError, match="problem adder: the golden fails"):
        judge.control(broken)
    verdict = verifier.verify(broken, Candidate(text=ADDER.source("TopModule")), (1,))
    assert verdict.outcome is Outcome.TOOL_ERROR
    assert [diagnostic.code for diagnostic in verdict.diagnostics] == [PROBLEM_FAULT]
    assert "$" not in verdict.diagnostics[0].message


@pytest.mark.tool
def test_a_golden_of_the_candidates_name_stays_out_of_the_harness(verifier):
    testbench = """
module check; reg a; wire y; inverter dut(.a(a), .y(y));
  initial begin
    a = 0; #1; if (y !== 1) $display("Error"); a = 1; #1;
    if (y !== 0) $display("Failed"); else $display("===========Your Design Passed===========");
    $finish;
  end
endmodule
"""
    golden = "module inverter (input a, output y);\n  assign y = ~a;\nendmodule\n"
    oracle = TestbenchOracle(testbench=testbench, rule=PassRule.BANNER, golden=golden, golden_top="inverter")
    problem = Problem(problem_id="same", source="", prompt="", top_module="inverter", ports=None, oracle=oracle)
    assert verifier.verify(problem, Candidate(text=golden), (1,)).passed
    wrong = verifier.verify(problem, Candidate(text=golden.replace("~a", "a")), (1,))
    assert wrong.outcome is Outcome.MISMATCH


BANNER_TESTBENCH = """
module check; reg a = 0; wire y; inverter dut(.a(a), .y(y));
  CLOCK
  initial begin
    #1; if (y === 1) begin a = 1; #1; if (y === 0) repeat (BANNERS) $display("===Your Design Passed==="); end
    END
  end
endmodule
"""
INVERTER = "module inverter (input a, output y);\n  assign y = ~a;\nendmodule\n"


def banner_problem(*, golden: str | None, clock: str = "", end: str = "$finish;", banners: str = "1") -> Problem:
    testbench = BANNER_TESTBENCH.replace("CLOCK", clock).replace("END", end).replace("BANNERS", banners)
    oracle = TestbenchOracle(
        testbench=testbench, rule=PassRule.BANNER, golden=golden, golden_top="inverter" if golden else None
    )
    ports = (Port(name="a", direction="input"), Port(name="y", direction="output"))
    return Problem(problem_id="banner", source="", prompt="", top_module="inverter", ports=ports, oracle=oracle)


@pytest.mark.tool
@pytest.mark.parametrize("clock", ["", "reg clk = 0; always #5 clk = ~clk;"])
def test_a_testbench_without_an_end_is_ended(verifier, clock):
    problem = banner_problem(golden=INVERTER, clock=clock, end="")
    assert verifier.verify(problem, Candidate(text=INVERTER), (1,)).passed
    wrong = Candidate(text=INVERTER.replace("~a", "a"))
    assert verifier.verify(problem, wrong, (1,)).outcome is Outcome.MISMATCH


@pytest.mark.tool
@pytest.mark.parametrize("golden", [INVERTER, None])
def test_a_testbench_that_says_nothing_of_a_failure_is_no_fault_of_ours(verifier, golden):
    problem = banner_problem(golden=golden)
    assert verifier.verify(problem, Candidate(text=INVERTER), (1,)).passed
    wrong = Candidate(text=INVERTER.replace("~a", "a"))
    assert verifier.verify(problem, wrong, (1,)).outcome is Outcome.MISMATCH


@pytest.mark.tool
def test_a_design_needs_as_many_banners_as_the_golden_or_one(verifier):
    twice = Candidate(text=INVERTER)
    assert verifier.verify(banner_problem(golden=INVERTER, banners="2"), twice, (1,)).passed
    assert verifier.verify(banner_problem(golden=None, banners="2"), twice, (1,)).outcome is Outcome.MISMATCH


@pytest.mark.tool
def test_a_delay_in_a_design_is_in_the_time_unit_of_the_benchmarks_own_command(verifier):
    problem = banner_problem(golden=None)
    testbench = "`timescale 1ps/1ps\n" + problem.oracle.testbench.replace("#1;", "#4000;")
    slow = Candidate(text=INVERTER.replace("assign y", "assign #1 y"))  # 1 ns; of the language's 1 s it is too late
    assert verifier.verify(replace(problem, oracle=replace(problem.oracle, testbench=testbench)), slow, (1,)).passed


@pytest.mark.tool
def test_without_a_golden_the_testbench_alone_decides(verifier):
    alone = problem_of(
        ADDER.harness().replace("  RefModule good1 (.a, .b, .sum(sum_ref));", "  assign sum_ref = a + b;"),
        golden=None,
        ports=PORTS,
    )
    assert verifier.verify(alone, Candidate(text=ADDER.source("TopModule")), (1,)).passed
    wrong = Candidate(text=ADDER.source("TopModule").replace("a + b", "a | b"))
    assert verifier.verify(alone, wrong, (1,)).outcome is Outcome.MISMATCH
    assert verifier.verify_golden(alone, (1,)).passed


@pytest.mark.tool
def test_without_a_golden_and_without_ports_nothing_can_be_judged(verifier):
    verdict = verifier.verify(problem_of(golden=None), Candidate(text=ADDER.source("TopModule")), (1,))
    assert verdict.outcome is Outcome.TOOL_ERROR
    assert "neither ports nor a golden" in verdict.diagnostics[0].message


@pytest.mark.tool
def test_equal_candidates_have_equal_verdicts_whatever_the_nonce(verifier):
    wrong = Candidate(text=ADDER.source("TopModule").replace("a + b", "a[2:0] + b"))
    first, second = (verifier.verify(problem_of(), wrong, (3,)) for _ in range(2))
    assert first.outcome is Outcome.MISMATCH
    assert first.diagnostics == second.diagnostics
    assert first.first_mismatch == second.first_mismatch


@pytest.mark.tool
def test_the_golden_is_seen_to_run_afresh(verifier):
    assert verifier.verify_golden(problem_of(), (1, 2)).passed
