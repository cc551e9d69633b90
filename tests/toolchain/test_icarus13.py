"""The logs of iverilog and vvp 13.0, captured: what differs from earlier releases in words is read alike."""

from pathlib import Path

import pytest

from toolchain.command import CommandResult
from toolchain.icarus import Ending, ending_of, parse_compile_log

LOGS = Path(__file__).parents[1] / "golden" / "icarus"


def log(name: str) -> str:
    return (LOGS / f"icarus13_{name}.log").read_text()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("l_value", [("error", "", "design.v", 2), ("note", "", "design.v", 1)]),
        ("width", [(kind, "", file, line) for file, line in (("design.v", 3), ("testbench.v", 1))
                   for kind in ("warning", "note")]),
        ("warning", [("warning", "", "design.v", 4), ("warning", "", "design.v", 3)]),
        ("declared_later", [("error", "", "testbench.v", 4), ("note", "", "testbench.v", 5)]),
    ],
)  # fmt: skip
def test_a_log_of_release_13_is_read_as_one_of_12(name, expected):
    found = parse_compile_log(log(name))
    assert [(d.severity, d.code, d.file, d.line) for d in found] == expected


def test_a_use_before_the_declaration_is_refused_and_the_declaration_named():
    (_, note) = parse_compile_log(log("declared_later"))
    assert note.message == "A symbol with that name was declared here. Check for declaration after use."
    assert ending_of(CommandResult(returncode=1, stdout="", stderr=log("declared_later"), duration_s=0.1)) is (
        Ending.REFUSED
    )


def test_an_internal_error_is_a_crash():
    result = CommandResult(returncode=3, stdout="", stderr=log("internal"), duration_s=0.1)
    assert ending_of(result) is Ending.CRASH


def test_release_13_says_who_ended_the_simulation():
    assert log("run_finish").splitlines()[-1] == "tb.v:1: $finish called at 3 (1s)"
