"""The loader of VerilogEval v1: what it reads, how it prepares answers, and what it says of a damaged checkout."""

import json

import pytest
from v1_checkout import V1_PROBLEMS, solution_of, task_id_of, test_of, write_v1

from hdl_bench.benchmarks import load_benchmark
from hdl_bench.compatible import Answer
from toolchain.errors import UsageError
from verifiers.extract import extract
from verifiers.types import PassRule, TestbenchOracle

ADDER = V1_PROBLEMS[0]
HEADER = ADDER.header("top_module")


@pytest.fixture
def root(tmp_path):
    return write_v1(tmp_path / "verilog-eval")


@pytest.mark.parametrize("task", ["human", "machine"])
def test_a_problem_has_its_description_header_testbench_and_golden(root, task):
    benchmark = load_benchmark(f"verilog-eval-v1-{task}", root)
    assert list(benchmark.problems) == [task_id_of(problem) for problem in V1_PROBLEMS]
    problem = benchmark.problems["adder"]
    assert problem.prompt == f"// {task.title()}:\n// {ADDER.asks}\n\n{HEADER}"
    assert problem.top_module == "top_module"
    assert problem.oracle == TestbenchOracle(
        testbench=test_of(ADDER),
        rule=PassRule.MISMATCH_COUNT,
        top="tb",
        golden=f"{HEADER}\n{solution_of(ADDER)}",
        golden_top="top_module",
    )


@pytest.mark.parametrize(
    "completion",
    [
        solution_of(ADDER),
        f"```verilog\n{solution_of(ADDER)}```\n",
        f"<think>carry?</think>{solution_of(ADDER)}",
        f"// module top_module(...);\n{solution_of(ADDER)}",
        f"{solution_of(ADDER)}module helper(input a);\nendmodule\n",
        f"```\n{solution_of(ADDER)}module helper(input a);\nendmodule\n```",
    ],
)
def test_an_answer_that_goes_on_from_the_header_gets_it(root, completion):
    benchmark = load_benchmark("verilog-eval-v1-human", root)
    candidate = extract(benchmark.prepare("adder", completion), "top_module")
    assert candidate is not None
    assert candidate.text.startswith(HEADER)
    assert f"{ADDER.body}\nendmodule" in candidate.text
    assert candidate.text.count("module helper") == completion.count("module helper")


def test_reasoning_that_never_ended_is_no_body_for_the_header(root):
    benchmark = load_benchmark("verilog-eval-v1-human", root)
    assert extract(benchmark.prepare("adder", f"<think>{solution_of(ADDER)}"), "top_module") is None


@pytest.mark.parametrize("completion", [HEADER + solution_of(ADDER), f"```\n{HEADER}{solution_of(ADDER)}```"])
def test_an_answer_with_a_header_of_its_own_gets_none(root, completion):
    benchmark = load_benchmark("verilog-eval-v1-human", root)
    candidate = extract(benchmark.prepare("adder", completion), "top_module")
    assert candidate is not None
    assert candidate.text == HEADER + solution_of(ADDER)


def test_upstream_takes_an_answer_as_it_is(root):
    rule = load_benchmark("verilog-eval-v1-human", root).compatible
    assert rule is not None
    job = rule.job(Answer(problem_id="adder", completion="```\nx"))
    assert job.text == f"{test_of(ADDER)}\n{HEADER}\n```\nx"


def _edit_row(path, index, **changes):
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[index] |= changes
    path.write_text("".join(json.dumps({k: v for k, v in row.items() if v is not None}) + "\n" for row in rows))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda root: (root / "data/VerilogEval_Human.jsonl").unlink(), "lacks data/VerilogEval_Human.jsonl; give"),
        (lambda root: (root / "descriptions/VerilogDescription_Human.jsonl").unlink(), "lacks descriptions/Verilog"),
        (lambda root: (root / "data/VerilogEval_Human.jsonl").write_text(""), "holds no problem"),
        (lambda root: (root / "data/VerilogEval_Human.jsonl").write_text("{"), "line 1 is no JSON"),
        (lambda root: _edit_row(root / "data/VerilogEval_Human.jsonl", 1, test=None), "line 2 needs 'test' as a text"),
        (
            lambda root: _edit_row(root / "data/VerilogEval_Human.jsonl", 1, task_id="other"),
            "no description of 'other'",
        ),
        (lambda root: _edit_row(root / "data/VerilogEval_Human.jsonl", 1, task_id="adder"), "'adder' twice"),
    ],
)
def test_a_damaged_checkout_says_what_is_missing(root, damage, said):
    damage(root)
    with pytest.raises(UsageError, match=said):
        load_benchmark("verilog-eval-v1-human", root)


def test_a_checkout_of_another_branch_is_told_the_right_one(tmp_path):
    with pytest.raises(UsageError, match=r"branch release/1\.0\.0"):
        load_benchmark("verilog-eval-v1-machine", tmp_path)
    with pytest.raises(UsageError, match="is not a folder"):
        load_benchmark("verilog-eval-v1-machine", tmp_path / "nowhere")
