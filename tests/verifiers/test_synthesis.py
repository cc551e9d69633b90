"""Synthesis figures of designs small enough to count by hand."""

import pytest

from toolchain.errors import ToolNotFound
from verifiers import synthesis
from verifiers.synthesis import Synthesizer


@pytest.fixture(scope="module")
def synthesizer():
    pytest.importorskip("pyosys")
    with Synthesizer() as synthesizer:
        yield synthesizer


@pytest.mark.tool
def test_one_gate_is_one_cell_three_wires_and_depth_1(synthesizer):
    found = synthesizer.statistics("module top (input a, b, output y);\nassign y = a & b;\nendmodule\n", "top")
    assert found.is_synthesizable
    assert (found.num_cells, found.num_wires, found.num_wire_bits, found.depth) == (1, 3, 3, 1)
    assert found.cells == {"$_AND_": 1}


@pytest.mark.tool
def test_a_wire_costs_nothing(synthesizer):
    found = synthesizer.statistics("module top (input a, output y);\nassign y = a;\nendmodule\n", "top")
    assert (found.num_cells, found.depth) == (0, 0)


@pytest.mark.tool
def test_registers_and_latches_are_counted_by_bit(synthesizer):
    text = (
        "module top (input clk, en, input [3:0] d, output reg [3:0] q, output reg [1:0] l);\n"
        "always @(posedge clk) q <= d;\nalways @(*) if (en) l = d[1:0];\nendmodule\n"
    )
    found = synthesizer.statistics(text, "top")
    assert (found.num_flip_flops, found.num_latches) == (4, 2)


@pytest.mark.tool
def test_a_longer_chain_is_deeper(synthesizer):
    depths = [
        synthesizer.statistics(
            f"module top (input [{width - 1}:0] a, b, output [{width - 1}:0] y);\nassign y = a * b;\nendmodule\n", "top"
        ).depth
        for width in (2, 6)
    ]
    assert 0 < depths[0] < depths[1]


@pytest.mark.tool
def test_what_does_not_synthesize_has_a_reason_and_no_figures(synthesizer):
    found = synthesizer.statistics("module top (input a, output y);\nassign y = b;\nendmodule\n", "top")
    assert not found.is_synthesizable
    assert "undeclared identifier" in found.reason
    assert found.num_cells == 0


def test_a_missing_pyosys_is_said_at_once(monkeypatch):
    def missing():
        raise ToolNotFound("pyosys was not found")

    monkeypatch.setattr(synthesis, "find_pyosys", missing)
    with pytest.raises(ToolNotFound):
        Synthesizer()
