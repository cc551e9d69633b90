"""RTLLM's own rule, on results without a simulator, and its arithmetic by hand."""

import pytest

from hdl_bench.compatible_rtllm import LETTERS, RtllmChecker, RtllmJob, rate_by_auto_run
from toolchain.command import CommandResult

JOB = RtllmJob(
    candidate="module a; endmodule", testbench="module tb; initial $finish; endmodule", files=(("d.dat", "1"),)
)


def result(stdout: str = "", *, returncode: int = 0, is_timed_out: bool = False) -> CommandResult:
    return CommandResult(returncode=returncode, stdout=stdout, stderr="", duration_s=0.1, is_timed_out=is_timed_out)


@pytest.mark.parametrize(
    ("results", "letter"),
    [
        ([result(), result("===========Your Design Passed===========\n")], "."),
        ([result(), result("no password needed\n")], "."),
        ([result(), result("PASSED\n")], "R"),
        ([result(), result("pass", returncode=1)], "."),
        ([result(), result("pass", is_timed_out=True)], "T"),
        ([result("pass", returncode=2)], "C"),
    ],
)
def test_a_pass_is_the_word_in_the_output_in_time(results, letter):
    assert RtllmChecker("iverilog", "vvp").parse(JOB, results, {}) == letter
    assert letter in LETTERS


def test_the_candidate_is_compiled_after_a_time_scale_and_before_the_testbench_beside_its_data():
    checker = RtllmChecker("iverilog", "vvp")
    compile_step, run_step = checker.steps(JOB)
    assert compile_step.argv == ("iverilog", "-g2012", "-o", "simv", "timescale.v", "design.v", "testbench.v")
    assert run_step.limits.cpu_s == 8
    assert checker.files(JOB) == {
        "timescale.v": "`timescale 1ns/1ns\n",
        "design.v": JOB.candidate,
        "testbench.v": JOB.testbench,
        "d.dat": "1",
    }


def test_a_testbench_without_an_end_gets_one():
    job = RtllmJob(candidate="", testbench="module tb; endmodule", files=())
    assert "$finish" in RtllmChecker("iverilog", "vvp").files(job)["timescale.v"]


def test_upstreams_mean_is_over_one_design_more_without_the_one_that_it_misspells():
    rate = rate_by_auto_run(num_names=4, skipped=frozenset({"c"}))
    assert rate({"a": (2, 1), "b": (2, 2), "c": (2, 2)}) == pytest.approx((0.5 + 1.0) / 5)
    assert rate({}) == 0.0
