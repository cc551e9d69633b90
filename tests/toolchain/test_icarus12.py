"""The logs of iverilog and vvp 12.0, captured: what differs from 11.0 in words does not differ in what is read."""

from pathlib import Path

import pytest

from toolchain.command import CommandResult
from toolchain.icarus import Ending, ending_of, parse_compile_log

LOGS = Path(__file__).parents[1] / "golden" / "icarus"


def log(name: str) -> str:
    return (LOGS / f"icarus12_{name}.log").read_text()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("unbound", [("error", "", "design.v", 2)] * 3),
        ("syntax", [("error", "syntax", "design.v", 2)] * 2),
        ("unknown_module", [("error", "", "design.v", 2)]),
        ("recursion", [("error", "", "design.v", 2), ("note", "", "design.v", 2)]),
        ("l_value", [("error", "", "design.v", 2), ("note", "", "design.v", 1)]),
        ("port", [("error", "", "testbench.v", 1)]),
        ("warning", [("warning", "", "design.v", 4)] + [("warning", "", "design.v", 3)] * 4),
        ("width", [("warning", "", "design.v", 3), ("note", "", "design.v", 3)]),
        ("memory_port", [("error", "", "design.v", 3)] * 2),
        ("sorry", [("error", "sorry", "design.v", 5)]),
    ],
)
def test_a_log_of_release_12_is_read_as_one_of_11(name, expected):
    found = parse_compile_log(log(name))
    assert [(d.severity, d.code, d.file, d.line) for d in found] == expected


def test_an_internal_error_in_a_refusal_is_told_apart_from_the_candidates_own():
    # `int q [string];`: release 12 gives up on it with a word on itself, 11 calls it a syntax error
    found = parse_compile_log(log("internal"))
    assert [d.code for d in found if d.severity == "error"] == ["", "internal", ""]
    result = CommandResult(returncode=3, stdout="", stderr=log("internal"), duration_s=0.1)
    assert ending_of(result) is Ending.CRASH


def test_a_remark_of_the_code_generator_is_no_failure():
    result = CommandResult(returncode=0, stdout="", stderr=log("target_sorry"), duration_s=0.1)
    assert ending_of(result) is Ending.CLEAN


@pytest.mark.parametrize("name", ["finish", "stop"])
def test_release_12_says_who_ended_the_simulation(name):
    last = log(f"run_{name}").splitlines()[-1]
    assert last == f"tb.v:1: ${name} called at 3 (1s)"
