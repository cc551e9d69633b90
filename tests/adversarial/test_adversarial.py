"""Every forged design beside this file ends where its first line says: in the static check, or else simulated."""

import re
from pathlib import Path

import pytest

from verifiers.static_check import static_check
from verifiers.types import Candidate, Port, Problem, ReferenceOracle
from verifiers.verify import Verifier

FOLDER = Path(__file__).parent
FORGED = sorted(FOLDER.glob("*.v"))
HEADER = re.compile(r"// problem: (?P<problem>\w+); expected: (?P<expected>\w+); trick: .+")
PORTS = {
    "counter": (
        Port(name="clk", direction="input"),
        Port(name="rst", direction="input"),
        Port(name="en", direction="input"),
        Port(name="q", direction="output", width=4),
    ),
    "adder": (
        Port(name="a", direction="input", width=4),
        Port(name="b", direction="input", width=4),
        Port(name="y", direction="output", width=5),
    ),
}


GOLDENS = {
    "counter": "module TopModule(input clk, input rst, input en, output reg [3:0] q);\n"
    "  always @(posedge clk) if (rst) q <= 0; else if (en) q <= q + 1;\nendmodule\n",
    "adder": "module TopModule(input [3:0] a, b, output [4:0] y);\n  assign y = a + b;\nendmodule\n",
}
STATIC_OUTCOMES = {
    "forbidden_construct",
    "syntax_error",
    "interface_error",
    "elaboration_error",
    "resource_limit",
}


def read(path: Path) -> str:
    with path.open(newline="") as file:  # a bare carriage return is one of the tricks
        return file.read()


def header_of(path: Path) -> re.Match[str]:
    header = HEADER.fullmatch(read(path).split("\n", 1)[0])
    assert header, f"{path.name} does not start with '{HEADER.pattern}'"
    return header


def has_static_end(path: Path) -> bool:
    return header_of(path)["expected"] in STATIC_OUTCOMES


def problem_of(name: str) -> Problem:
    oracle = ReferenceOracle(golden=GOLDENS[name], golden_top="TopModule")
    return Problem(
        problem_id=name, source="adversarial", prompt="", top_module="TopModule", ports=PORTS[name], oracle=oracle
    )


@pytest.fixture(scope="module")
def verifier() -> Verifier:
    return Verifier()


@pytest.mark.parametrize("path", [path for path in FORGED if has_static_end(path)], ids=lambda path: path.stem)
def test_a_forged_design_ends_as_its_first_line_says(path):
    header = header_of(path)
    finding = static_check(read(path), "TopModule", PORTS[header["problem"]])
    assert finding is not None, "the screen lets it through"
    assert finding.outcome == header["expected"], finding.diagnostics
    assert finding.diagnostics
    assert all(diagnostic.message for diagnostic in finding.diagnostics)


@pytest.mark.tool
@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in FORGED if not has_static_end(path)], ids=lambda path: path.stem)
def test_a_forged_design_that_the_screen_cannot_see_fails_in_the_simulator(path, verifier):
    header = header_of(path)
    assert static_check(read(path), "TopModule", PORTS[header["problem"]]) is None
    verdict = verifier.verify(problem_of(header["problem"]), Candidate(text=read(path)), (7,))
    assert verdict.outcome == header["expected"], verdict


@pytest.mark.tool
@pytest.mark.parametrize("name", GOLDENS)
def test_the_honest_design_of_each_problem_passes(name, verifier):
    assert static_check(GOLDENS[name], "TopModule", PORTS[name]) is None
    assert verifier.verify(problem_of(name), Candidate(text=GOLDENS[name]), (7,)).passed


def test_there_are_forgeries_of_every_static_outcome():
    assert len(FORGED) >= 40
    assert {header_of(path)["expected"] for path in FORGED} >= STATIC_OUTCOMES
