"""Upstream's extraction and failure letters, on texts and logs."""

import pytest

from hdl_bench.compatible_verilog_eval import (
    LETTERS,
    VerilogEvalChecker,
    VerilogEvalJob,
    extract_code_complete,
    extract_spec_to_rtl,
    letter_of,
)
from toolchain.command import CommandResult

MODULE = "module TopModule (output y);\n  assign y = 1;\nendmodule\n"
PASS = "Mismatches: 0 in 20 samples\n"


@pytest.mark.parametrize(
    ("log", "letter"),
    [
        (PASS, "."),
        ("Mismatches: 3 in 20 samples\n", "R"),
        ("Mismatches: 3 in 20 samples\n" + PASS, "."),
        ("Mismatches: 0 in 0 samples\n", "."),
        ("hint: Mismatches: 0 in 20 samples\n", "R"),
        ("Mismatches: 0 in 20 samples.\n", "R"),
        ("a\rMismatches: 0 in 20 samples\r\n", "."),
        ("", "R"),
        ("s.sv:3: syntax error\n" + PASS, "S"),
        ("s.sv:3: error: This assignment requires an explicit cast.\n", "e"),
        ("s.sv:3: error: Sized numeric constant must have a size greater than zero.\n", "0"),
        ("s.sv:3: warning: always_comb process has no sensitivities.\n" + PASS, "n"),
        ("s.sv:3: warning: @* found no sensitivities so it will never trigger.\n" + PASS, "n"),
        ("s.sv:3: error: y is not a valid l-value\ns.sv:1:      : y is declared here as wire.\n", "w"),
        ("s.sv:3: error: Unknown module type: Helper\n", "m"),
        ("s.sv:3: error: Unable to bind wire/reg/memory `clk' in `tb.top_module1'\n", "c"),
        ("s.sv:3: error: Unable to bind wire/reg/memory `a' in `tb.top_module1'\n", "p"),
        ("s.sv:3: error: port y is not a port of top_module1.\n", "C"),
        (PASS + "TIMEOUT\n", "T"),
        ("TIMEOUT\ns.sv: syntax error\n", "T"),
    ],
)
def test_the_letter_of_a_log(log, letter):
    assert letter_of(log, MODULE) == letter
    assert letter in LETTERS


@pytest.mark.parametrize("reset", ["posedge reset", "negedge reset", "posedge r)"])
def test_a_mismatch_with_an_asynchronous_reset_has_a_letter_of_its_own(reset):
    assert letter_of("Mismatches: 1 in 9 samples", f"always @(posedge clk, {reset}") == "r"


@pytest.mark.parametrize(
    ("completion", "code"),
    [
        (f"[BEGIN]\n{MODULE}[DONE]\n", MODULE),
        (f"Sure.\n  [BEGIN]  \n{MODULE}[DONE] trailing\n{MODULE}[DONE]\n", f"{MODULE}[DONE] trailing\n{MODULE}"),
        (f"[BEGIN]{MODULE}", ""),
        (f"[BEGIN]module A;\nendmodule[DONE]\n{MODULE}", "module A;\nendmodule\n"),
        (f"```verilog\n{MODULE}```\nand\n```\nmodule B;\n```\n", MODULE),
        (f"Here:\n{MODULE}That is all.\n", MODULE),
        (f"```verilog\n{MODULE}", MODULE),
        (f"<think>[BEGIN]\nno\n[DONE]\n</think>{MODULE}", MODULE),
        (f"module Helper;\nendmodule\n{MODULE}", "module Helper;\nendmodule\n"),
        (f"{MODULE}module Helper;\nendmodule\n", MODULE),
        (f"words\n  {MODULE}", f"words\n  {MODULE}"),
    ],
)
def test_what_upstream_takes_out_of_an_answer(completion, code):
    assert extract_spec_to_rtl(completion) == "\n" + code


@pytest.mark.parametrize(
    ("completion", "code"),
    [
        ("  assign y = 1;\nendmodule\n", "HEADER\n\n  assign y = 1;\nendmodule\n"),
        ("```\n  assign y = 1;\nendmodule\n```\n", "HEADER\n\n  assign y = 1;\nendmodule\n"),
        (MODULE, MODULE),
        (f"Here:\n{MODULE}bye\n", MODULE),
        (f"endmodule\n{MODULE}", "HEADER\n\nendmodule\n"),
    ],
)
def test_the_header_goes_in_front_of_an_answer_without_one(completion, code):
    assert extract_code_complete(completion, "HEADER") == "\n" + code


def test_the_commands_are_upstreams():
    checker = VerilogEvalChecker("iverilog", "vvp")
    job = VerilogEvalJob(candidate=MODULE, testbench="t", golden="g")
    compile_step, run_step = checker.steps(job)
    assert compile_step.argv == (
        *("iverilog", "-Wall", "-Winfloop", "-Wno-timescale", "-g2012", "-s", "tb", "-o", "sample"),
        *("sample.sv", "test.sv", "ref.sv"),
    )
    assert run_step.limits.cpu_s == 30
    assert checker.files(job) == {"sample.sv": MODULE, "test.sv": "t", "ref.sv": "g"}


def test_a_run_that_is_killed_for_time_is_a_time_out():
    checker = VerilogEvalChecker("iverilog", "vvp")
    clean = CommandResult(returncode=0, stdout="", stderr="", duration_s=0.1)
    killed = CommandResult(returncode=-9, stdout=PASS, stderr="", duration_s=30.0, is_timed_out=True)
    job = VerilogEvalJob(candidate=MODULE, testbench="t", golden="g")
    assert checker.parse(job, [clean, killed], {}) == "T"
