"""Verilator against Icarus' traces: agreement, difference, and silence where nothing can be said."""

import pytest

from toolchain.command import CommandResult
from toolchain.errors import ToolNotFound
from toolchain.icarus import Ending
from toolchain.tool import find_tool
from verifiers.build_cache import BuildCache, default_folder
from verifiers.golden import GoldenRuns
from verifiers.second_opinion import SecondOpinion, Stance
from verifiers.simulate import Failure, local_simulator
from verifiers.types import CocotbOracle, Port, Problem, ReferenceOracle
from verifiers.verilator_checker import LintJob, VerilatorLint, read_translation, without_comments
from verifiers.verilator_rows import rows_program, wrapper_module
from verifiers.verilator_simulate import VerilatorSimulator

_GOLDEN = """module TopModule(input clk, input rst, input [39:0] d, output reg [69:0] q, output odd);
  always @(posedge clk)
    if (rst) q <= 70'd0;
    else q <= {q[29:0], d};
  assign odd = ^q;
endmodule
"""
_PORTS = (
    Port(name="clk", direction="input"),
    Port(name="rst", direction="input"),
    Port(name="d", direction="input", width=40),
    Port(name="q", direction="output", width=70),
    Port(name="odd", direction="output"),
)


def _result(returncode: int, stderr: str) -> CommandResult:
    return CommandResult(returncode=returncode, stdout="", stderr=stderr, duration_s=0.1)


def test_comments_are_blanked_in_place():
    text = 'assign a = b; // verilator lint_off\n/* verilator\n\tpublic */ assign c = "// no";\n'
    blank = without_comments(text)
    assert "verilator" not in blank
    assert '"// no"' in blank
    assert len(blank) == len(text)
    assert [line.find("assign") for line in blank.split("\n")] == [0, -1, 11, -1]


def test_a_refusal_counts_only_with_an_error_to_show():
    (found,) = read_translation(_result(1, "%Error: design.v:2:3: syntax error, unexpected ';'\n"))
    assert (found.line, found.code) == (2, "syntax")
    assert isinstance(read_translation(_result(1, "Segmentation fault\n")), Failure)
    assert isinstance(
        read_translation(_result(1, "%Error: design.v:2:3: Internal Error: ../V3Const.cpp:1: x\n")), Failure
    )
    assert read_translation(_result(-9, "")).ending is Ending.CRASH


def test_the_wrapper_has_a_name_that_the_design_cannot_have():
    name, text = wrapper_module(_GOLDEN, "TopModule", _PORTS)
    assert name not in _GOLDEN
    assert wrapper_module(_GOLDEN + " ", "TopModule", _PORTS)[0] != name
    assert "input [39:0] p2" in text
    assert ".d(p2), .q(p3)" in text


def test_the_program_takes_each_input_from_its_place_in_the_row():
    program = rows_program(_PORTS, ("clk",))
    assert "put(top.p2, row.data() + 2, 40);" in program
    assert "digits.size() != (42 + 3) / 4" in program
    assert [line.strip() for line in program.splitlines() if "start[" in line] == ["start[0] = '0';"]
    assert program.index("print(top.p3, 70)") < program.index("print(top.p4, 1)")
    assert "@" not in program


def test_lint_runs_on_the_text_without_its_comments(tmp_path):
    lint = VerilatorLint(verilator="v", root=tmp_path)
    job = LintJob(text="module t; // verilator lint_off\nendmodule\n", top="t")
    assert "lint_off" not in "".join(lint.files(job).values())
    assert lint.steps(job)[0].env == {"VERILATOR_ROOT": str(tmp_path)}


def _problem(golden: str = _GOLDEN, ports: tuple[Port, ...] | None = _PORTS) -> Problem:
    oracle = ReferenceOracle(golden=golden, golden_top="TopModule")
    return Problem(problem_id="p", source="test", prompt="", top_module="TopModule", ports=ports, oracle=oracle)


@pytest.fixture(scope="module")
def second(tmp_path_factory) -> SecondOpinion:
    for tool in ("verilator", "g++"):
        try:
            find_tool(tool)
        except ToolNotFound:
            pytest.skip(f"no {tool} here")
    simulator = VerilatorSimulator(cache=BuildCache(default_folder()))
    return SecondOpinion(simulator=simulator, goldens=GoldenRuns(local_simulator()), executor=simulator.executor)


@pytest.mark.tool
@pytest.mark.slow
def test_a_right_design_agrees_and_is_built_once(second):
    opinion = second.ask(_problem(), _GOLDEN, (1, 2))
    assert opinion.stance is Stance.AGREES, opinion
    assert opinion.num_samples > 600
    program = second._simulator.program(_GOLDEN, "TopModule", _PORTS, ["clk"])
    built = program.stat().st_mtime_ns
    second.ask(_problem(), _GOLDEN, (3,))
    assert second._simulator.program(_GOLDEN, "TopModule", _PORTS, ["clk"]) == program
    assert program.stat().st_mtime_ns == built


@pytest.mark.tool
@pytest.mark.slow
def test_a_wrong_design_differs_at_a_named_row(second):
    opinion = second.ask(_problem(), _GOLDEN.replace("^q", "^q[68:0]"), (1,))
    assert opinion.stance is Stance.DIFFERS
    assert opinion.num_mismatches > 0
    assert "output odd" in opinion.reason


@pytest.mark.tool
@pytest.mark.slow
def test_a_design_that_waits_keeps_its_delays(second):
    golden = "module TopModule(input a, output reg y);\n  always @(a) y = #3 ~a;\nendmodule\n"
    assert second.ask(_problem(golden, None), golden, (1,)).stance is Stance.AGREES
    late = golden.replace("#3", "#25")
    assert second.ask(_problem(golden, None), late, (1,)).stance is Stance.DIFFERS


@pytest.mark.tool
@pytest.mark.slow
def test_a_register_without_a_reset_starts_anywhere(second):
    golden = (
        "module TopModule(input clk, d, output reg q);\n  initial q = 0;\n  always @(posedge clk) q <= d;\nendmodule\n"
    )
    assert second.ask(_problem(golden, None), golden, (1,)).stance is Stance.AGREES
    free = golden.replace("q <= d", "q <= d ^ free").replace("  initial q = 0;", "  reg free; initial q = 0;")
    assert second.ask(_problem(golden, None), free, (1,)).stance is Stance.DIFFERS


@pytest.mark.tool
@pytest.mark.slow
def test_what_verilator_cannot_build_gets_no_opinion(second):
    switch = "module TopModule(input a, e, output y);\n  tranif1 t(y, a, e);\nendmodule\n"
    opinion = second.ask(_problem(switch, None), switch, (1,))
    assert opinion.stance is Stance.NO_OPINION
    assert "does not build the golden: Unsupported" in opinion.reason


@pytest.mark.tool
@pytest.mark.slow
def test_without_a_golden_there_is_no_opinion(second):
    oracle = CocotbOracle(test_source="")
    problem = Problem(problem_id="p", source="", prompt="", top_module="TopModule", ports=_PORTS, oracle=oracle)
    assert second.ask(problem, _GOLDEN, (1,)).stance is Stance.NO_OPINION
