"""The static check: honest designs are clean, each failure has its outcome and line, and nothing makes it raise."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from verifiers.static_check import static_check
from verifiers.types import Outcome, Port, Stage

PORTS = (
    Port(name="clk", direction="input"),
    Port(name="d", direction="input", width=8),
    Port(name="q", direction="output", width=8),
)
HEADER = "module TopModule(input clk, input [7:0] d, output reg [7:0] q);\n"
NET_HEADER = "module TopModule(input clk, input [7:0] d, output [7:0] q);\n"


def check(body: str, header: str = HEADER):
    return static_check(f"{header}{body}\nendmodule\n", "TopModule", PORTS)


HONEST = {
    "flip-flop": "always @(posedge clk) q <= d;",
    "initial value": "initial q = 8'd0; always @(posedge clk) q <= d;",
    "always_ff": "always_ff @(posedge clk) q <= d;",
    "always_comb": "always_comb q = ~d;",
    "always_latch": "always_latch if (clk) q = d;",
    "casez": "always @(*) casez (d) 8'b1???_????: q = 1; 8'b01??????: q = 2; default: q = 0; endcase",
    "for loop": "integer i; always @(*) for (i = 0; i < 8; i = i + 1) q[i] = d[7 - i];",
    "sv for loop": "always_comb for (int i = 0; i < 8; i++) q[i] = d[7 - i];",
    "function": "function [7:0] f(input [7:0] x); f = x + 1; endfunction always @(*) q = f(d);",
    "task": "task t(input [7:0] x, output [7:0] y); y = x; endtask always @(*) t(d, q);",
    "signed": "wire signed [7:0] s = d; always @(*) q = $signed(d) >>> 1;",
    "clog2": "localparam N = $clog2(8); always @(*) q = d >> N;",
    "memory": "reg [7:0] m [0:15]; always @(posedge clk) begin m[d[3:0]] <= d; q <= m[d[7:4]]; end",
    "packed struct": "struct packed { logic [3:0] h; logic [3:0] l; } s; assign s = d; always_comb q = {s.l, s.h};",
    "struct type": "typedef struct packed { logic [3:0] h, l; } t; t s; assign s.h = d[3:0]; assign s.l = d[7:4]; "
    "always_comb q = s;",
    "enum": "typedef enum logic [1:0] {A, B, C} t; t s = A; "
    "always_ff @(posedge clk) begin s <= s == A ? B : A; q <= s; end",
    "delays": "always @(posedge clk) q <= #1 d;",
    "use before declaration": "always @(*) q = late; wire [7:0] late = d;",
    "while loop": "integer i; always @(*) begin i = 0; q = 0; while (i < 8) begin q = q + d[i]; i = i + 1; end end",
    "named block": "always @(*) begin : blk integer k; k = d; q = k; end",
    "repeat": "always @(*) begin q = d; repeat (3) q = {q[6:0], q[7]}; end",
    "attributes": "(* full_case *) reg x; always @(*) (* parallel_case *) case (d) default: q = d; endcase",
    "macro": "`define WIDTH 8\n`define MSB (`WIDTH - 1)\nalways @(posedge clk) q <= d[`MSB:0];",
    "string parameter": 'parameter MODE = "FAST"; always @(*) q = MODE == "FAST" ? d : 0;',
    "case inside always": "reg s; always @(posedge clk) case (s) 0: s <= 1; default: s <= 0; endcase always @* q = s;",
    "comment with other letters": "// \u00fcber \u2192 q\nalways @(*) q = d;",
    "include guard": "`ifndef GUARD\n`define GUARD\nalways @(*) q = d;\n`endif",
    "wide arithmetic": "always @(*) {q[0], q[7:1]} = d * 8'd3 % 8'd7 + d ** 2;",
    "concatenated nets": "wire a, b; assign {a, b} = d[1:0]; always @(*) q = {8{a & b}};",
    "two defaults": "always @(*) case (d) 0: q = 0; default: q = 1; default: q = 2; endcase",
    "implicit case equality": "always @(*) q = (d === 8'bx) ? 0 : d;",
}
HONEST_NETS = {
    "generate": "genvar i; generate for (i = 0; i < 8; i = i + 1) begin : g assign q[i] = d[7 - i]; end endgenerate",
    "generate chain": "genvar i; generate for (i = 0; i < 8; i = i + 1) begin : g wire c; "
    "if (i == 0) assign c = d[0]; else assign c = g[i - 1].c ^ d[i]; assign q[i] = g[i].c; end endgenerate",
    "gates": "and g0(q[0], d[0], d[1]); not g1(q[1], d[0]); buf g2(q[2], q[3], d[2]); assign q[7:4] = 0;",
    "instance": "inv #(.W(8)) u(.a(d), .y(q)); endmodule "
    "module inv #(parameter W = 1)(input [W-1:0] a, output [W-1:0] y);"
    " assign y = ~a;",
    "ordered instance": "inv u(d, q); endmodule "
    "module inv(a, y); input [7:0] a; output [7:0] y; wire [7:0] y; assign y = ~a;",
    "array of instances": "inv u[7:0](.a(d), .y(q)); endmodule module inv(input a, output y); assign y = ~a;",
    "tristate": "assign q = clk ? d : 8'bz;",
    "primitive table": "inv u(q[0], d[0]); assign q[7:1] = 0; endmodule primitive inv(output o, input i); "
    "table 0 : 1; 1 : 0; endtable endprimitive module unused;",
    "package": "assign q = d ^ pkg::MASK; endmodule "
    "package pkg; localparam [7:0] MASK = 8'h5a; endpackage module unused;",
}


@pytest.mark.parametrize("body", HONEST.values(), ids=HONEST.keys())
def test_an_honest_design_is_clean(body):
    assert check(body) is None


@pytest.mark.parametrize("body", HONEST_NETS.values(), ids=HONEST_NETS.keys())
def test_an_honest_design_of_nets_is_clean(body):
    assert check(body, NET_HEADER) is None


def test_a_timescale_and_an_old_header_are_clean():
    text = "`timescale 1ns / 1ps\r\n`default_nettype none\r\nmodule TopModule(clk, d, q);\r\n  input clk;\r\n"
    text += (
        "  input [7:0] d;\r\n  output [7:0] q;\r\n  reg [7:0] q;\r\n  always @(posedge clk) q <= d;\r\nendmodule\r\n"
    )
    assert static_check(text, "TopModule", PORTS) is None


@pytest.mark.parametrize(
    ("body", "outcome", "stage", "line", "code"),
    [
        ("assign q = d;\nalways @(posedge clk q <= d;", Outcome.SYNTAX_ERROR, Stage.SCREEN, 3, "ExpectedToken"),
        ("\n\ninitial $finish;", Outcome.FORBIDDEN_CONSTRUCT, Stage.SCREEN, 4, "screen"),
        ("\nalways @(*) q = nowhere;", Outcome.ELABORATION_ERROR, Stage.COMPILE, 3, "UndeclaredIdentifier"),
        ("\nghost g(.x(d));", Outcome.ELABORATION_ERROR, Stage.COMPILE, 3, "UnknownModule"),
    ],
)
def test_a_finding_names_outcome_stage_and_line(body, outcome, stage, line, code):
    finding = check(body)
    assert (finding.outcome, finding.stage) == (outcome, stage)
    assert (finding.diagnostics[0].line, finding.diagnostics[0].code) == (line, code)


def test_a_fault_inside_a_macro_is_reported_where_the_macro_is_used():
    finding = check("`define X nowhere\n\nalways @(*) q = `X;")
    assert (finding.outcome, finding.diagnostics[0].line) == (Outcome.ELABORATION_ERROR, 4)


FRAGMENT_TEXT = """
module| TopModule|endmodule|(|)|[|]|{|}|begin |end |;|`define X |`X|`|always @(posedge clk) |assign |q|d| = |<=|8'h|'|"
|/*|*/|//|\\|$finish|tb.x|generate |for (|if (|else |function |\x00|\ud800|\u00e9|`include |\r|class |::
"""
FRAGMENTS = st.sampled_from(FRAGMENT_TEXT.split("|"))


@settings(max_examples=150, deadline=None)
@given(st.one_of(st.text(max_size=80), st.lists(FRAGMENTS, max_size=25).map("".join)))
def test_no_text_makes_it_raise(text):
    finding = static_check(text, "TopModule", PORTS)
    assert finding is not None


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(HONEST)), st.data())
def test_no_mutation_of_an_honest_design_makes_it_raise(name, data):
    text = f"{HEADER}{HONEST[name]}\nendmodule\n"
    start = data.draw(st.integers(0, len(text)))
    length = data.draw(st.integers(0, 12))
    mutated = text[:start] + data.draw(FRAGMENTS) + text[start + length :]
    finding = static_check(mutated, "TopModule", PORTS)
    assert finding is None or finding.diagnostics
