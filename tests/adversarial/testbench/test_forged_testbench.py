"""No forged design beside this file passes a stock testbench, hardened; upstream's rule says what its header says."""

import re
from pathlib import Path

import pytest
from stock_checkout import PROBLEMS, write_checkout

from hdl_bench.compatible import PASS, Answer
from hdl_bench.compatible_verilog_eval import VerilogEvalChecker
from hdl_bench.verilog_eval import SPEC_TO_RTL, VerilogEvalV2
from toolchain.tool import find_tool
from verifiers.checker import run_check
from verifiers.extract import extract
from verifiers.seeds import EVAL_SEEDS
from verifiers.simulate import local_executor
from verifiers.stock import StockJudge
from verifiers.types import Candidate
from verifiers.verify import Verifier

FORGED = sorted(Path(__file__).parent.glob("*.v"))
HEADER = re.compile(r"// problem: (?P<problem>\w+); expected: (?P<expected>\w+); upstream: (?P<letter>.); trick: .+")
# For the simulation to be asked too: these would pass were it not for our own testbench.
BEYOND_THE_STOCK_TESTBENCH = ("time_bomb", "time_bomb_after_resets", "overfit_to_stimulus", "one_sample_memory")


def completion_of(path: Path) -> str:
    """The design as an answer between marks: what is not, upstream's script cuts off at the first `endmodule`."""
    return f"[BEGIN]\n{path.read_text()}\n[DONE]\n"


def header_of(path: Path) -> re.Match[str]:
    header = HEADER.fullmatch(path.read_text().split("\n", 1)[0])
    assert header, f"{path.name} does not start with '{HEADER.pattern}'"
    return header


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory) -> VerilogEvalV2:
    return VerilogEvalV2(write_checkout(tmp_path_factory.mktemp("checkout") / "verilog-eval"), SPEC_TO_RTL)


@pytest.fixture(scope="module")
def problems(benchmark):
    return {problem.problem_id: problem for problem in benchmark.problems()}


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return Verifier()


@pytest.mark.tool
@pytest.mark.slow
@pytest.mark.parametrize("path", FORGED, ids=lambda path: path.stem)
def test_a_forged_design_does_not_pass_a_stock_testbench(path, problems, verifier):
    header = header_of(path)
    verdict = verifier.judge(problems[header["problem"]], completion_of(path), EVAL_SEEDS).verdict
    assert verdict.outcome == header["expected"], verdict
    assert not verdict.passed


@pytest.mark.tool
@pytest.mark.slow
@pytest.mark.parametrize("path", [p for p in FORGED if header_of(p)["letter"] != "T"], ids=lambda path: path.stem)
def test_upstreams_rule_says_of_a_forged_design_what_its_header_says(path, benchmark):
    header = header_of(path)
    sources = benchmark.sources[header["problem"]]
    checker = VerilogEvalChecker(*(str(find_tool(name).path) for name in ("iverilog", "vvp")))
    job = benchmark.compatible_job(Answer(problem_id=sources.problem_id, completion=completion_of(path)))
    assert (run_check(checker, job, local_executor()) == PASS) == (header["letter"] == PASS)


@pytest.mark.tool
@pytest.mark.parametrize("name", BEYOND_THE_STOCK_TESTBENCH)
def test_a_time_bomb_passes_the_stock_testbench_alone(name, problems):
    path = Path(__file__).parent / f"{name}.v"
    judge = StockJudge(executor=local_executor())
    finding = judge.judge(problems[header_of(path)["problem"]], path.read_text())
    assert finding.faults == ()


@pytest.mark.tool
@pytest.mark.parametrize("problem", PROBLEMS, ids=lambda problem: problem.name)
def test_the_golden_of_each_problem_passes(problem, problems, verifier):
    candidate = extract(problem.source("TopModule"), "TopModule")
    assert candidate is not None
    assert verifier.verify(problems[problem.name], candidate, EVAL_SEEDS).passed


@pytest.mark.tool
def test_the_same_design_with_a_fault_does_not_pass(problems, verifier):
    text = (
        "module TopModule(input [3:0] in, input [1:0] sel, output out);\n  assign out = in[sel] & sel[0];\nendmodule\n"
    )
    verdict = verifier.verify(problems["Prob903_mux"], Candidate(text=text), EVAL_SEEDS)
    assert verdict.outcome == "mismatch"
    assert verdict.first_mismatch is not None


@pytest.mark.tool
def test_a_design_that_relies_on_what_the_testbench_never_drives_passes(problems, verifier):
    cases = "".join(f"    4'd{1 << bit}: next_state = go ? 4'd{1 << (bit + 1) % 4} : state;\n" for bit in range(4))
    text = (
        "module TopModule(input go, input [3:0] state, output reg [3:0] next_state);\n"
        f"  always @(*) case (state)\n{cases}    default: next_state = 4'd1;\n  endcase\nendmodule\n"
    )
    assert verifier.verify(problems["Prob910_onehot"], Candidate(text=text), EVAL_SEEDS).passed


def test_the_corpus_is_large_and_over_all_problems():
    assert len(FORGED) >= 60
    assert {header_of(path)["problem"] for path in FORGED} == {problem.name for problem in PROBLEMS}
    assert sum(header_of(path)["letter"] == "." for path in FORGED) >= 25


def test_the_table_of_forgeries_has_a_row_for_each():
    table = Path(__file__).parents[3].joinpath("docs", "forgeries.md").read_text()
    for path in FORGED:
        header = header_of(path)
        upstream = "passes" if header["letter"] == "." else f"fails ({header['letter']})"
        trick = header[0].split("trick: ", 1)[1]
        row = f"| `{path.stem}` | {header['problem'].split('_')[1]} | {trick} | {upstream} | {header['expected']} |"
        assert row in table, row
