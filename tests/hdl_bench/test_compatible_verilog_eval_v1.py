"""VerilogEval v1's own rule, on logs."""

import signal

import pytest

from hdl_bench.compatible_verilog_eval_v1 import (
    LETTERS,
    VerilogEvalV1Checker,
    VerilogEvalV1Job,
    job_text,
    letter_of,
    mean_pass_rate,
)
from toolchain.command import CommandResult

PASS = "Mismatches: 0 in 20 samples\n"
JOB = VerilogEvalV1Job(task_id="adder", text="module tb; endmodule")


@pytest.mark.parametrize(
    ("stdout", "stderr", "letter"),
    [
        (PASS, "", "."),
        ("Mismatches: 3 in 20 samples\n", "", "R"),
        ("Mismatches: 3 in 20 samples\n" + PASS, "", "R"),
        (PASS + "Mismatches: 3 in 20 samples\n", "", "."),
        ("hint: Mismatches: 0 in 0 samples of it\n", "", "."),
        ("Mismatches:  in 20 samples\n", "", "I"),
        ("", "", "I"),
        (PASS, "adder.sv:3: warning: Port 2 expects 4 bits, got 1.\n", "C"),
        (PASS, "adder.sv:3: syntax error\n", "S"),
    ],
)
def test_the_letter_of_a_log(stdout, stderr, letter):
    assert letter_of(stdout, stderr) == letter
    assert letter in LETTERS


def result(stdout: str = "", *, is_timed_out: bool = False, returncode: int = 0) -> CommandResult:
    return CommandResult(returncode=returncode, stdout=stdout, stderr="", duration_s=99.0, is_timed_out=is_timed_out)


def test_what_runs_out_of_cpu_time_is_timed_out_and_what_waits_for_a_busy_machine_is_not():
    checker = VerilogEvalV1Checker("iverilog", "vvp")
    assert checker.parse(JOB, [result(), result(PASS)], {}) == "."
    assert checker.parse(JOB, [result(), result(PASS, is_timed_out=True)], {}) == "T"
    assert checker.parse(JOB, [result(), result(PASS, returncode=-signal.SIGXCPU)], {}) == "T"


def test_the_command_is_upstreams():
    checker = VerilogEvalV1Checker("iverilog", "vvp")
    compile_step, run_step = checker.steps(JOB)
    flags = ("-Wall", "-Winfloop", "-Wno-timescale", "-g2012", "-s", "tb", "-o", "test.vvp")
    assert compile_step.argv == ("iverilog", *flags, "adder.sv")
    assert run_step.argv[:3] == ("vvp", "-n", "test.vvp")
    assert checker.files(JOB) == {"adder.sv": JOB.text}
    assert job_text(test="t", prompt="p", completion="c") == "t\np\nc"


def test_the_mean_is_unbiased():
    assert mean_pass_rate({"a": (3, 1), "b": (1, 1)}) == pytest.approx((1 / 3 + 1) / 2)
