"""Which sources a proof is claimed of, and why not of the others. No tool is needed."""

import pytest

from verifiers.formal_subset import simulation_doubt
from verifiers.types import Clock, Protocol, Reset

CLOCKED = Protocol(clocks=(Clock(name="clk"),))
RESET = Protocol(clocks=(Clock(name="clk"),), resets=(Reset(name="rst"),))
HEADER = "module top (input clk, input rst, input [3:0] d, output reg [3:0] q);\n"

CLEAN = {
    "always_comb": "always_comb q = d;",
    "a star": "always @(*) q = d;",
    "a full list": "always @(d or rst) q = rst ? 0 : d;",
    "a temporary": "reg [3:0] t;\nalways @(*) begin t = d; q = t + t; end",
    "a loop": "integer i;\nalways @(*) for (i = 0; i < 4; i = i + 1) q[i] = d[3 - i];",
    "a loop of its own": "always @(*) for (int i = 0; i < 4; i = i + 1) q[i] = d[3 - i];",
    "one clocked block with blocking assignments": "reg [3:0] t;\nalways @(posedge clk) begin t = d; q <= t; end",
    "a function of its arguments": "function [3:0] f(input [3:0] v); f = ~v; endfunction\nalways @(*) q = f(d);",
    "a casez": "always @(*) casez (d) 4'b1???: q = 1; default: q = 0; endcase",
    "a casex on an input": "always @(*) casex (d) 4'b1xxx: q = 1; default: q = 0; endcase",
    "a state that a reset sets": "reg s;\nalways @(posedge clk) if (rst) s <= 0; else s <= d[0];\n"
    "always @(*) if (s) q = 1; else q = 0;",
}
DOUBTFUL = {
    "sensitivity list lacks top.rst": "always @(d) q = rst ? 0 : d;",
    "part of a signal": "always @(d[0]) q = d[0];",
    "never be woken": "always @(*) q = 3;",
    "too late": "reg s = 0;\nalways @(posedge clk) if (rst) s <= 0; else s <= d[0];\n"
    "always @(*) if (s) q = 1; else q = 0;",
    "waits for a time": "always #5 q = d;",
    "waits within itself": "always @(posedge clk) begin q <= d; @(negedge clk) q <= 0; end",
    "edges and levels": "always @(posedge clk or rst) q <= d;",
    "assignment has a delay": "always @(posedge clk) q <= #1 d;",
    "a fork": "always @(posedge clk) fork q <= d; join",
    "a wait": "always @(posedge clk) begin wait (rst) q <= d; end",
    "no plain wire": "wand w;\nassign w = d[0];\nalways @(*) q = {d[3:1], w};",
    "casex": "reg [3:0] s;\nalways @(posedge clk) s <= d;\n"
    "always @(*) casex (s) 4'b1xxx: q = d; default: q = 0; endcase",
    "compared with x or z": "always @(*) case (d) 4'b000x: q = 1; default: q = 0; endcase",
    "unique and priority": "always @(*) unique if (d[0]) q = 1; else q = 0;",
    "not its arguments": "function [3:0] f(input v); f = d; endfunction\nalways @(*) q = f(rst);",
    "two-state": "bit [3:0] s;\nalways @(posedge clk) s <= d;\nalways @(*) q = s + d;",
    "several blocks": "always @(posedge clk) q[0] <= d[0];\nalways @(negedge clk) q[0] <= d[1];",
    "read elsewhere": "reg t;\nalways @(posedge clk) t = d[0];\nalways @(posedge clk) q <= t;",
    "attribute": "always @(*) (* full_case *) case (d) 0: q = 1; endcase",
}


@pytest.mark.parametrize("name", CLEAN)
def test_a_source_that_synthesis_reads_as_simulation_does_is_clean(name):
    assert simulation_doubt(f"{HEADER}{CLEAN[name]}\nendmodule\n", "top", RESET) is None


@pytest.mark.parametrize("reason", DOUBTFUL)
def test_a_doubt_is_named(reason):
    doubt = simulation_doubt(f"{HEADER}{DOUBTFUL[reason]}\nendmodule\n", "top", RESET)
    assert doubt is not None
    assert reason in doubt


def test_a_block_that_reads_a_state_without_reset_may_wake_too_late():
    body = "reg s;\nalways @(posedge clk) s <= d[0];\nalways @(*) if (s) q = 1; else q = 0;"
    assert "too late" in simulation_doubt(f"{HEADER}{body}\nendmodule\n", "top", CLOCKED)


def test_submodules_are_read_too():
    text = (
        "module top (input a, output y);\nchild c (.a(a), .y(y));\nendmodule\n"
        "module child (input a, output y);\nassign #2 y = a;\nendmodule\n"
    )
    assert "delay" in simulation_doubt(text, "top", Protocol())
