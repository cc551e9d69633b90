"""CVDP's layout, on small problems of our own: what is read, what is judged, what is refused and why."""

import json

import pytest
from cvdp_rows import ENV, GOLDEN, MODEL, ROTATE, RUNNER, STEP, TESTS, rotate_row, row, write_rows

from hdl_bench import cvdp
from hdl_bench.score import Judges, Sample, score_samples
from toolchain.errors import UsageError
from verifiers.seeds import EVAL_SEEDS
from verifiers.types import Outcome
from verifiers.verify import Verifier

NAME = "cvdp_copilot_gray_step_0001"
WRONG = GOLDEN.replace("3'd0", "3'd1")


def load(tmp_path, *rows: dict):
    return cvdp.load(write_rows(tmp_path / "set.jsonl", *rows))


def test_a_row_becomes_a_problem_with_its_context_beside_the_candidate(tmp_path):
    benchmark = load(tmp_path, row())
    problem = benchmark.problems[NAME]
    assert (benchmark.name, benchmark.errata, problem.source) == ("cvdp", {}, "cvdp")
    assert (problem.top_module, problem.family, problem.difficulty) == ("gray_step", "cid004", 1)
    assert problem.prompt.startswith("Make the counter step in Gray code.\n\nThe file rtl/step.v:\n```\nmodule step")
    assert problem.prompt.endswith("Answer with the whole text of rtl/gray_step.sv.\n")
    assert (problem.oracle.golden, problem.oracle.golden_top) == (f"{STEP}\n{GOLDEN}", "gray_step")
    assert [name for name, _ in problem.oracle.files] == [
        "test_gray.py",
        "model.py",
        "test_runner.py",
        "earl_cocotb1.py",
    ]
    assert (problem.oracle.runner, dict(problem.oracle.variables)["TOPLEVEL"]) == ("test_runner.py", "gray_step")
    assert not {"PYTHONPATH", "HASH"} & dict(problem.oracle.variables).keys()
    assert problem.oracle.is_trusted is False
    assert benchmark.prepare(NAME, f"Well:\n```verilog\n{WRONG}```") == f"[BEGIN]{STEP}\n{WRONG}[DONE]"
    assert benchmark.prepare(NAME, "I cannot.") == "I cannot."


def test_without_context_a_completion_stays_as_it_is(tmp_path):
    alone = row(env=ENV.replace(" /code/rtl/step.v", ""))
    assert load(tmp_path, alone).prepare(NAME, "```verilog\nx```") == "```verilog\nx```"


def test_an_answer_of_several_files_is_read_as_json(tmp_path):
    several = row()
    several["output"]["context"] = {"rtl/gray_step.sv": GOLDEN, "rtl/step.v": STEP}
    several["input"]["context"] = {}
    benchmark = load(tmp_path, several)
    answer = json.dumps({"code": [{"rtl/step.v": "S"}, {"rtl/gray_step.sv": "G"}, {"docs/x.md": "D"}]})
    assert benchmark.prepare(NAME, f"Sure: {answer} Done.") == "[BEGIN]G\nS[DONE]"
    assert benchmark.prepare(NAME, "```verilog\nmodule m;\n```") == "```verilog\nmodule m;\n```"
    assert '{"code": [{"<name>": "<code>"}]}' in benchmark.problems[NAME].prompt


def test_published_rows_have_no_solution_and_tables_hold_objects_as_text(tmp_path):
    bare = row(golden="")
    assert load(tmp_path, bare).problems[NAME].oracle.golden is None
    as_text = {key: json.dumps(value) if isinstance(value, dict | list) else value for key, value in row().items()}
    assert load(tmp_path, as_text).problems == load(tmp_path, row()).problems
    flat = row() | {"harness": row()["harness"]["files"]}
    assert load(tmp_path, flat).problems == load(tmp_path, row()).problems
    answered = row(golden="")
    answered["output"]["response"] = f"```verilog\n{GOLDEN}```"
    assert load(tmp_path, answered).problems[NAME].oracle.golden == f"{STEP}\n{GOLDEN}"


def test_rows_of_other_categories_are_left_out(tmp_path):
    other = row() | {"id": "cvdp_copilot_other_0001", "categories": ["cid012", "hard"]}
    assert list(load(tmp_path, other, row()).problems) == [NAME]
    with pytest.raises(UsageError, match="has no problem of cid002, cid003"):
        load(tmp_path, other)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"id": "x", "prompt": "p", "patch": {}}, "is an agentic problem"),
        ([], "must be an object"),
        ({key: value for key, value in row().items() if key != "harness"}, "the key 'harness': Field required"),
        (row() | {"input": {"prompt": 3}}, "the key 'input.prompt': Input should be a valid string; got 3"),
        (row(), "is there twice"),
    ],
)
def test_what_is_no_row_is_told_with_its_line(tmp_path, bad, said):
    with pytest.raises(UsageError) as raised:
        load(tmp_path, row(), bad)
    assert said in str(raised.value)
    assert "line 2" in str(raised.value)


@pytest.mark.parametrize(
    ("harness", "said"),
    [
        ({"env": ENV.replace("icarus", "xcelium")}, "its simulator is xcelium"),
        ({"env": ENV.replace("TOPLEVEL  ", "TOP  ")}, "does not say TOPLEVEL"),
        ({"env": ENV.replace("test_gray", "test_blue")}, "the test module 'test_blue', which is not among its files"),
        ({"env": ENV.replace("step.v", "stop.v")}, "the source rtl/stop.v is neither given nor asked for"),
        ({"test_gray": "def (:\n"}, "test_gray.py is no Python"),
        ({"test_runner": "import subprocess\n"}, "test_runner.py, line 1 runs commands of its own"),
        ({"test_runner": "from subprocess import run\n"}, "runs commands of its own"),
        ({"model": "import os\nos.system('yosys')\n"}, "model.py, line 2 runs commands of its own"),
        ({"model": "import cocotb_bus.drivers\n"}, "model.py, line 1 imports cocotb_bus, which is not installed"),
        ({"model": "TABLE = open('/code/rtl/x.mem')\n"}, "model.py, line 1 uses the container's /code/rtl/x.mem"),
        ({"compose": "    image: __VERIF_EDA_IMAGE__\n"}, "asks for a commercial simulator"),
        ({"compose": "    command: pytest /src/run_all.py -v\n"}, "its runner run_all.py is not among its files"),
        (
            {"compose": "  command: pytest /src/a.py\n  # /src/c.py\n  command: pytest /src/b.py\n"},
            "2 modules: a.py, b.py",
        ),
    ],
)
def test_a_harness_that_we_do_not_run_is_an_erratum_with_the_reason(tmp_path, harness, said):
    erratum = load(tmp_path, row(**harness)).errata[NAME]
    assert erratum.kinds == ("unsupported_harness",)
    assert said in erratum.note


def test_given_files_that_the_screen_refuses_blame_no_candidate(tmp_path):
    noisy = row()
    noisy["input"]["context"]["rtl/step.v"] = STEP.replace("endmodule", "initial $display(1); endmodule")
    assert "a given file holds what the screen forbids" in load(tmp_path, noisy).errata[NAME].note


def test_what_a_file_can_do_without_is_no_erratum(tmp_path):
    model = "try:\n    import cocotb_bus\nexcept ImportError:\n    cocotb_bus = None\n" + MODEL
    assert load(tmp_path, row(model=model)).errata == {}


def test_problems_that_are_not_run_are_counted_and_named(tmp_path):
    refused = row(env=ENV.replace("icarus", "xcelium")) | {"id": "cvdp_copilot_other_0002"}
    assert load(tmp_path, row()).refused == ""
    assert load(tmp_path, row(), refused).refused == (
        "cvdp: 1 of 2 problems are not run here\n"
        "  cvdp_copilot_other_0002: its simulator is xcelium; only icarus and verilator are run"
    )


def test_tests_for_cocotb_1_are_told_by_what_they_import(tmp_path):
    pytest.importorskip("cocotb_tools")
    old = TESTS.replace("import cocotb\n", "import cocotb\nfrom cocotb.binary import BinaryValue\n", 1)
    erratum = load(tmp_path, row(test_gray=old)).errata[NAME]
    assert erratum.kinds == ("needs_older_cocotb",)
    assert "test_gray.py, line 4 imports cocotb.binary.BinaryValue, which cocotb 2" in erratum.note
    gone = TESTS.replace("import FallingEdge", "import FallingEdge, Join, NoSuchTrigger")
    assert "cocotb.triggers.NoSuchTrigger" in load(tmp_path, row(test_gray=gone)).errata[NAME].note


class _Rlimits:
    isolation = "rlimits"


def test_its_python_is_refused_on_a_rung_that_is_not_full(tmp_path):
    benchmark = load(tmp_path, row())
    samples = [Sample(problem_id=NAME, sample_idx=0, completion=GOLDEN)]
    with pytest.raises(UsageError, match=r"judges by Python that is not trusted .* the isolation here is rlimits"):
        score_samples(benchmark, samples, Judges(ours=_Rlimits()), progress=lambda *_: None)


@pytest.mark.tool
@pytest.mark.slow
def test_candidates_are_judged_by_the_harness_and_by_the_golden_where_there_is_one(tmp_path):
    pytest.importorskip("cocotb_tools")
    verifier = Verifier()
    if verifier.isolation != "bubblewrap":
        pytest.skip("no full isolation rung here")
    for published in (row(), row(golden="")):
        benchmark = load(tmp_path, published)
        answers = (GOLDEN, WRONG, GOLDEN.replace("clk", "clock"), GOLDEN.replace("u_step", "u_step("))
        found = [
            verifier.judge(benchmark.problems[NAME], benchmark.prepare(NAME, answer), EVAL_SEEDS).verdict.outcome
            for answer in answers
        ]
        port = Outcome.INTERFACE_ERROR if benchmark.problems[NAME].oracle.golden else Outcome.MISMATCH
        assert found == [Outcome.PASSED, Outcome.MISMATCH, port, Outcome.SYNTAX_ERROR]


@pytest.mark.tool
@pytest.mark.slow
def test_a_harness_that_we_do_not_run_is_a_tool_error_that_says_why(tmp_path):
    pytest.importorskip("cocotb_tools")
    verifier = Verifier()
    if verifier.isolation != "bubblewrap":
        pytest.skip("no full isolation rung here")
    benchmark = load(tmp_path, row(test_runner=RUNNER.replace("always=", "defines={'X': 1}, always=")))
    verdict = verifier.judge(benchmark.problems[NAME], benchmark.prepare(NAME, GOLDEN), EVAL_SEEDS).verdict
    assert verdict.outcome is Outcome.TOOL_ERROR
    assert "test_runner.py is not run here: the runner gives 'defines' to build" in verdict.diagnostics[0].message


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    pytest.importorskip("cocotb_tools")
    verifier = Verifier()
    if verifier.isolation != "bubblewrap":
        pytest.skip("no full isolation rung here")
    return verifier


def _judge(verifier, tmp_path, item: dict, answer: str):
    benchmark = load(tmp_path, item)
    return verifier.judge(benchmark.problems[item["id"]], benchmark.prepare(item["id"], answer), EVAL_SEEDS).verdict


@pytest.mark.tool
@pytest.mark.slow
def test_a_candidate_must_pass_every_run_that_the_runner_makes(verifier, tmp_path):
    assert _judge(verifier, tmp_path, rotate_row(), ROTATE).passed
    item = rotate_row(golden="")
    passed = _judge(verifier, tmp_path, item, ROTATE)
    assert passed.passed, passed.diagnostics
    right_at_4_and_5 = ROTATE.replace("out = left", "out = WIDTH > 5 ? in : left")
    drawn = _judge(verifier, tmp_path, item, right_at_4_and_5)
    assert drawn.outcome is Outcome.MISMATCH
    assert [found for found in drawn.diagnostics if "failed: AssertionError" in found.message]
    assert ", +number=0)" in drawn.diagnostics[0].message
    again = _judge(verifier, tmp_path, item, right_at_4_and_5)
    assert again.diagnostics == drawn.diagnostics  # the drawn width too
    fixed = ROTATE.replace("#(parameter WIDTH = 4) ", "").replace("WIDTH", "4")
    assert _judge(verifier, tmp_path, item, fixed).outcome is Outcome.MISMATCH


FORGERIES = {
    "a branch that one run alone takes ends it early": "generate if (WIDTH == 5) initial $finish; endgenerate",
    "a branch that no default shows writes a file": (
        'integer f; generate if (WIDTH > 5) initial begin f = $fopen("results.xml"); $fdisplay(f, "<testsuites/>"); '
        "end endgenerate"
    ),
    "it runs a command": 'generate if (WIDTH != 4) initial $system("true"); endgenerate',
    "it asks for a plus-argument of one run": 'initial if ($test$plusargs("number=1")) $finish;',
    "code for a macro of the harness's": "`ifdef COCOTB_SIM\ninitial $finish;\n`endif",
}


@pytest.mark.tool
@pytest.mark.slow
@pytest.mark.parametrize("trick", FORGERIES)
def test_what_only_some_runs_would_show_is_screened_in_all(verifier, tmp_path, trick):
    forged = ROTATE.replace("out = left", "out = 1'b0 & left").replace("endmodule", f"{FORGERIES[trick]}\nendmodule")
    verdict = _judge(verifier, tmp_path, rotate_row(golden=""), forged)
    assert verdict.outcome is Outcome.FORBIDDEN_CONSTRUCT, verdict.diagnostics


@pytest.mark.tool
@pytest.mark.slow
def test_names_of_cocotb_1_that_mean_the_same_are_there(verifier, tmp_path):
    old = """import cocotb
from cocotb.result import TestFailure
from cocotb.triggers import Timer
from cocotb.utils import get_sim_time

@cocotb.coroutine
async def drive(dut, bits):
    dut["in"].value = bits
    await Timer(1, units="ns")

@cocotb.test()
async def rotates(dut):
    dut.left <= 1
    dut.left.value = 1
    task = cocotb.fork(drive(dut, 1))
    await task
    if dut.out.value.integer != 2 or dut.left.value.integer != 1 or dut.left.value.binstr != "1":
        raise TestFailure("no")
    assert dut.out[1].value == 1 and get_sim_time(units="ns") == 1
""".replace("    dut.left <= 1\n", "")
    item = rotate_row(golden="", tests=old)
    assert load(tmp_path, item).errata == {}
    assert _judge(verifier, tmp_path, item, ROTATE).passed
    wrong = _judge(verifier, tmp_path, item, ROTATE.replace("left ?", "!left ?"))
    assert "failed: AssertionError: no" in wrong.diagnostics[0].message
