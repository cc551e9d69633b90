"""The loader of VerilogEval v2: what it reads, and what it says of a damaged checkout."""

import shutil

import pytest
from stock_checkout import PROBLEMS, write_checkout

from hdl_bench.benchmarks import load_benchmark
from hdl_bench.errata import KINDS, _table, content_hash, find_erratum
from hdl_bench.verilog_eval import CODE_COMPLETE, SPEC_TO_RTL, VerilogEvalV2
from toolchain.errors import UsageError
from verifiers.extract import extract
from verifiers.types import PassRule, TestbenchOracle

SPEC = "verilog-eval-v2-spec"
COMPLETE = "verilog-eval-v2-complete"


@pytest.fixture
def root(tmp_path):
    return write_checkout(tmp_path / "verilog-eval")


def test_a_problem_is_what_has_a_prompt_in_the_order_of_names(root):
    benchmark = VerilogEvalV2(root, SPEC_TO_RTL)
    assert [problem.problem_id for problem in benchmark.problems()] == [problem.name for problem in PROBLEMS]


def test_a_problem_has_the_stock_testbench_and_the_golden(root):
    first = next(iter(VerilogEvalV2(root, SPEC_TO_RTL).problems()))
    assert first.source == SPEC
    assert first.top_module == "TopModule"
    assert first.prompt == f"\nImplement TopModule.\n\n{PROBLEMS[0].asks}\n"
    assert first.oracle == TestbenchOracle(
        testbench=PROBLEMS[0].harness(),
        rule=PassRule.MISMATCH_COUNT,
        top="tb",
        golden=PROBLEMS[0].source("RefModule"),
        golden_top="RefModule",
    )


def test_code_complete_asks_by_comments_and_a_header(root):
    first = next(iter(VerilogEvalV2(root, CODE_COMPLETE).problems()))
    assert first.prompt == f"// {PROBLEMS[0].asks}\n\n{PROBLEMS[0].header('TopModule')}"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda root: shutil.rmtree(root), "is not a folder"),
        (lambda root: shutil.rmtree(root / "dataset_spec-to-rtl"), "has no folder dataset_spec-to-rtl"),
        (lambda root: [p.unlink() for p in root.rglob("*_prompt.txt")], r"holds no Prob\*_prompt.txt"),
        (lambda root: next(root.rglob("Prob903_mux_ref.sv")).unlink(), "lacks Prob903_mux_ref.sv;"),
        (lambda root: [p.unlink() for p in root.rglob("*_test.sv")], "and 6 more; repair the checkout"),
        (lambda root: next(root.rglob("Prob903_mux_test.sv")).write_text("\n"), "Prob903_mux_test.sv is empty"),
        (lambda root: next(root.rglob("Prob903_mux_ref.sv")).write_bytes(b"\xff"), "is no UTF-8 text"),
    ],
)
def test_a_wrong_or_damaged_checkout_says_what_is_missing(root, damage, said):
    damage(root)
    with pytest.raises(UsageError, match=said):
        VerilogEvalV2(root, SPEC_TO_RTL)


def test_code_complete_needs_the_interfaces_too(root):
    next(root.rglob("Prob905_count_ifc.txt")).unlink()
    VerilogEvalV2(root, SPEC_TO_RTL)
    with pytest.raises(UsageError, match=r"lacks Prob905_count_ifc\.txt"):
        VerilogEvalV2(root, CODE_COMPLETE)


def test_an_unknown_benchmark_names_the_nearest(root):
    with pytest.raises(UsageError, match="did you mean 'verilog-eval-v2-spec'"):
        load_benchmark("verilog-eval-v2-spek", root)


@pytest.mark.parametrize(
    "completion",
    [
        "  assign out = in;\nendmodule\n",
        "```verilog\n  assign out = in;\nendmodule\n```\n",
        "Here is the body:\n```\nassign out = in;\nendmodule\n```\nIt copies the module's input.",
        "<think>wire</think>\nassign out = in;\nendmodule\n",
        "a fence: ```\nassign out = 0;\nendmodule\n```\n</think>\nassign out = in;\nendmodule\n",
        "<thinking>wire</thinking>\n```\nassign out = in;\nendmodule\n```\n",
    ],
)
def test_an_answer_that_goes_on_from_the_header_gets_it(root, completion):
    benchmark = load_benchmark(COMPLETE, root)
    candidate = extract(benchmark.prepare("Prob901_wire", completion), "TopModule")
    assert candidate is not None
    assert "module TopModule" in candidate.text
    assert "assign out = in;\nendmodule" in candidate.text
    assert "assign out = 0" not in candidate.text


def test_reasoning_that_never_ended_is_no_body_for_the_header(root):
    benchmark = load_benchmark(COMPLETE, root)
    assert extract(benchmark.prepare("Prob901_wire", "<think>assign out = in;\nendmodule"), "TopModule") is None


def test_an_answer_with_a_module_of_its_own_gets_no_header(root):
    benchmark = load_benchmark(COMPLETE, root)
    text = PROBLEMS[0].source("TopModule")
    candidate = extract(benchmark.prepare("Prob901_wire", text), "TopModule")
    assert candidate is not None
    assert candidate.text == text


def test_a_completion_without_marks_is_judged_from_end_to_end(root):
    benchmark = load_benchmark(SPEC, root)
    text = "bind tb Evil evil();\n" + PROBLEMS[0].source("TopModule") + "and more\n"
    candidate = extract(benchmark.prepare("Prob901_wire", text), "TopModule")
    assert candidate is not None
    assert candidate.text == text


def test_an_erratum_holds_for_its_content_only():
    (benchmark, problem, content), entry = next(iter(_table()["errata"].items()))
    found = find_erratum(benchmark, problem, content)
    assert found is not None
    assert found.kinds == tuple(entry["kinds"])
    assert find_erratum(benchmark, problem, content_hash("repaired")) is None


def test_every_erratum_has_known_kinds_and_a_note():
    table = _table()["errata"]
    assert len(table) >= 15
    for entry in table.values():
        assert set(entry["kinds"]) <= set(KINDS)
        assert entry["kinds"]
        assert len(entry["note"]) > 10


def test_line_ends_make_no_difference_to_a_content_hash_and_borders_do():
    assert content_hash("a\r\nb", "c") == content_hash("a\nb", "c")
    assert content_hash("a", "b") != content_hash("ab", "")
