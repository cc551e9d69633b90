"""CVDP's layout, on small problems of our own: what is read, what is judged, what is refused and why."""

import json

import pytest
from cvdp_rows import ENV, GOLDEN, RUNNER, STEP, TESTS, row, write_rows

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
    assert [name for name, _ in problem.oracle.files] == ["test_gray.py", "model.py", "test_runner.py"]
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
        ({"test_runner": "pass\n"}, "it has 0 runners"),
        ({"test_runner": RUNNER.replace("always=", "parameters={}, always=")}, "line 7 gives 'parameters' to the"),
        ({"test_runner": RUNNER.replace("waves=", "plusargs=[], waves=")}, "gives 'plusargs' to the runner's test"),
        ({"test_runner": RUNNER.replace("def test", "@pytest.mark.parametrize('n', [1])\ndef test")}, "parameters"),
        ({"test_runner": RUNNER.replace("always=", "build_args=['-DX'], always=")}, "gives 'build_args'"),
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


def test_harmless_arguments_of_the_runner_are_no_erratum(tmp_path):
    runner = RUNNER.replace("always=", "build_args=['-g2012'], always=")
    assert load(tmp_path, row(test_runner=runner)).errata == {}


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
    benchmark = load(tmp_path, row(test_runner=RUNNER.replace("always=", "parameters={}, always=")))
    verdict = verifier.judge(benchmark.problems[NAME], benchmark.prepare(NAME, GOLDEN), EVAL_SEEDS).verdict
    assert verdict.outcome is Outcome.TOOL_ERROR
    assert "gives 'parameters' to the runner's build" in verdict.diagnostics[0].message
