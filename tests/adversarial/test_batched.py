"""The whole corpus of forged designs, judged in groups: each verdict is that of the design alone, and none passes."""

from dataclasses import replace
from pathlib import Path

import pytest
from stock_checkout import PROBLEMS

from verifiers.batch import verify_group
from verifiers.types import Candidate, PassRule, Port, Problem, ReferenceOracle, TestbenchOracle
from verifiers.verify import Verifier

FORGED = sorted(Path(__file__).parent.glob("*.v"))
GOLDENS = {
    "counter": "module TopModule(input clk, input rst, input en, output reg [3:0] q);\n"
    "  always @(posedge clk) if (rst) q <= 0; else if (en) q <= q + 1;\nendmodule\n",
    "adder": "module TopModule(input [3:0] a, b, output [4:0] y);\n  assign y = a + b;\nendmodule\n",
}
PORTS = {
    "counter": (("input", 1, "clk"), ("input", 1, "rst"), ("input", 1, "en"), ("output", 4, "q")),
    "adder": (("input", 4, "a"), ("input", 4, "b"), ("output", 5, "y")),
}


@pytest.mark.tool
@pytest.mark.slow
@pytest.mark.parametrize("name", GOLDENS)
def test_forged_designs_get_the_same_verdict_in_a_group_with_honest_ones_and_alone(name):
    verifier = Verifier()
    ports = tuple(Port(name=port, direction=way, width=width) for way, width, port in PORTS[name])
    oracle = ReferenceOracle(golden=GOLDENS[name], golden_top="TopModule")
    problem = Problem(
        problem_id=name, source="adversarial", prompt="", top_module="TopModule", ports=ports, oracle=oracle
    )
    forged = [text for path in FORGED if f"problem: {name};" in (text := _read(path)).split("\n", 1)[0]]
    assert len(forged) >= 5
    honest = [f"{GOLDENS[name]}// honest {number}\n" for number in range(len(forged))]
    candidates = [Candidate(text=text) for pair in zip(forged, honest, strict=True) for text in pair]
    together = [replace(verdict, duration_s=0.0) for verdict in _groups_of_8(verifier, problem, candidates)]
    alone = [replace(verifier.verify(problem, candidate, (7,)), duration_s=0.0) for candidate in candidates]
    assert together == alone
    assert [verdict.passed for verdict in together] == [False, True] * len(forged)


def _groups_of_8(verifier, problem, candidates):
    for first in range(0, len(candidates), 8):
        yield from verify_group(verifier, problem, candidates[first : first + 8], (7,), audit_fraction=0.0)


def _read(path: Path) -> str:
    with path.open(newline="") as file:  # a bare carriage return is one of the tricks
        return file.read()


@pytest.mark.tool
@pytest.mark.slow
@pytest.mark.parametrize("source", PROBLEMS, ids=lambda source: source.name)
def test_designs_forged_for_a_stock_testbench_get_the_same_verdict_in_a_group_and_alone(source):
    verifier = Verifier()
    golden = source.source("TopModule")
    oracle = TestbenchOracle(
        testbench=source.harness(),
        rule=PassRule.MISMATCH_COUNT,
        top="tb",
        golden=source.source("RefModule"),
        golden_top="RefModule",
    )
    problem = Problem(
        problem_id=source.name, source="adversarial", prompt="", top_module="TopModule", ports=None, oracle=oracle
    )
    paths = sorted((Path(__file__).parent / "testbench").glob("*.v"))
    forged = [text for path in paths if f"problem: {source.name};" in (text := _read(path)).split("\n", 1)[0]]
    honest = [f"{golden}// honest {number}\n" for number in range(2)]
    candidates = [Candidate(text=text) for text in (*honest, *forged)]
    together = [replace(verdict, duration_s=0.0) for verdict in _groups_of_8(verifier, problem, candidates)]
    alone = [replace(verifier.verify(problem, candidate, (7,)), duration_s=0.0) for candidate in candidates]
    assert together == alone
    assert [verdict.passed for verdict in together] == [True, True] + [False] * len(forged)
