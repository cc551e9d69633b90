"""Every forged design beside this file ends where its first line says, before any simulator sees it."""

import re
from pathlib import Path

import pytest

from verifiers.static_check import static_check
from verifiers.types import Port

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


def read(path: Path) -> str:
    with path.open(newline="") as file:  # a bare carriage return is one of the tricks
        return file.read()


@pytest.mark.parametrize("path", FORGED, ids=lambda path: path.stem)
def test_a_forged_design_ends_as_its_first_line_says(path):
    text = read(path)
    header = HEADER.fullmatch(text.split("\n", 1)[0])
    assert header, f"{path.name} does not start with '{HEADER.pattern}'"
    finding = static_check(text, "TopModule", PORTS[header["problem"]])
    assert finding is not None, "the screen lets it through"
    assert finding.outcome == header["expected"], finding.diagnostics
    assert finding.diagnostics
    assert all(diagnostic.message for diagnostic in finding.diagnostics)


def test_there_are_forgeries_of_every_static_outcome():
    expected = {HEADER.match(read(path))["expected"] for path in FORGED}
    assert len(FORGED) >= 40
    assert expected == {
        "forbidden_construct",
        "syntax_error",
        "interface_error",
        "elaboration_error",
        "resource_limit",
    }


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (
            "counter",
            "module TopModule(input clk, input rst, input en, output reg [3:0] q);\n"
            "  always @(posedge clk) if (rst) q <= 0; else if (en) q <= q + 1;\nendmodule\n",
        ),
        ("adder", "module TopModule(input [3:0] a, b, output [4:0] y);\n  assign y = a + b;\nendmodule\n"),
    ],
)
def test_the_honest_design_of_each_problem_is_clean(problem, text):
    assert static_check(text, "TopModule", PORTS[problem]) is None
