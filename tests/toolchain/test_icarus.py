"""Icarus' argv and logs, by captured logs of iverilog 11.0."""

import signal
from pathlib import Path

import pytest

from toolchain.command import CommandResult
from toolchain.icarus import Ending, compile_argv, ending_of, parse_compile_log, simulate_argv

_LOGS = Path(__file__).parents[1] / "golden" / "icarus"


def _parsed(name: str) -> list[tuple[str, str, str, int | None]]:
    found = parse_compile_log((_LOGS / f"{name}.log").read_text())
    return [(d.severity, d.code, d.file, d.line) for d in found]


def _result(returncode: int, stderr: str = "", **flags: bool) -> CommandResult:
    return CommandResult(returncode=returncode, stdout="", stderr=stderr, duration_s=0.1, **flags)


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("unbound", [("error", "", "design.v", 2)] * 3),
        ("syntax", [("error", "syntax", "design.v", 2)]),
        ("unknown_module", [("error", "", "design.v", 2)]),
        ("warning", [("warning", "", "design.v", 4), ("warning", "", "design.v", 3)]),
        ("recursion", [("error", "", "design.v", 2), ("note", "", "design.v", 2)]),
        ("l_value", [("error", "", "design.v", 2), ("note", "", "design.v", 1)]),
        ("port", [("error", "", "testbench.v", 1)]),
        ("assertion", [("error", "", "design.v", 2)]),
    ],
)
def test_a_log_is_read_into_severity_file_and_line(log, expected):
    assert _parsed(log) == expected


def test_a_construct_that_icarus_lacks_has_a_code_of_its_own():
    assert _parsed("sorry")[0] == ("error", "sorry", "design.v", 5)


def test_a_message_is_kept_without_its_prefix():
    (first, note) = parse_compile_log((_LOGS / "l_value.log").read_text())
    assert first.message == "q is not a valid l-value in tb.u."
    assert note.message == "q is declared here as wire."


@pytest.mark.parametrize(
    ("result", "ending"),
    [
        (_result(0), Ending.CLEAN),
        (_result(2, "design.v:2: syntax error\nI give up.\n"), Ending.REFUSED),
        (_result(-signal.SIGKILL, is_timed_out=True), Ending.TIME_LIMIT),
        (_result(-signal.SIGXCPU), Ending.TIME_LIMIT),
        (_result(2, "I give up.CPU time limit exceeded\n"), Ending.TIME_LIMIT),
        (_result(-signal.SIGKILL, is_output_truncated=True), Ending.RESOURCE_LIMIT),
        (_result(-signal.SIGXFSZ), Ending.RESOURCE_LIMIT),
        (_result(-signal.SIGABRT, "terminate called ... 'std::bad_alloc'"), Ending.RESOURCE_LIMIT),
        (_result(-signal.SIGSEGV), Ending.CRASH),
        (_result(-signal.SIGABRT, (_LOGS / "assertion.log").read_text()), Ending.CRASH),
    ],
)
def test_the_way_a_run_ended_is_told_apart(result, ending):
    assert ending_of(result) is ending


def test_parameters_are_of_the_first_root_module():
    parameters = (("WIDTH", "8"), ("NAME", '"x"'))
    argv = compile_argv("v", sources=("d.v",), tops=("rotate", "time_1"), output="o", parameters=parameters)
    assert argv[4:] == ("-s", "rotate", "-s", "time_1", "-Protate.WIDTH=8", '-Protate.NAME="x"', "-o", "o", "d.v")


def test_the_root_module_is_named_and_sources_keep_their_order():
    argv = compile_argv("/usr/bin/iverilog", sources=("tb.v", "design.v"), tops=("tb_1",), output="out.vvp")
    assert argv[0] == "/usr/bin/iverilog"
    assert argv[argv.index("-s") + 1] == "tb_1"
    assert argv[argv.index("-o") + 1] == "out.vvp"
    assert argv[-2:] == ("tb.v", "design.v")


def test_a_simulation_never_waits_for_a_prompt_and_writes_no_waveform():
    assert simulate_argv("/usr/bin/vvp", image="out.vvp") == ("/usr/bin/vvp", "-n", "out.vvp", "-none")
