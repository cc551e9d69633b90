"""The screen in detail: what separates a name inside the design from one that leaves it, and a read from a write."""

import pytest

from verifiers.directives import MAX_LEXEMES, check_text
from verifiers.elaborate import elaborate, parse
from verifiers.screen import screen_design, screen_syntax


def findings(text: str) -> list[tuple[int | None, str]]:
    source = parse(text)
    found = screen_syntax(source) or screen_design(source, elaborate(source))
    return [(finding.line, finding.message) for finding in found]


@pytest.mark.parametrize(
    "body",
    [
        "struct packed { logic b; } s; assign s.b = a; assign y = s.b;",
        "if (1) begin : g wire w = a; end assign y = g.w;",
        "typedef enum { P, Q } t; t e = P; assign y = e == Q;",
        "reg [1:0] m; assign y = m[a]; always @* m[a] = 1;",
    ],
)
def test_names_and_reads_inside_the_design_are_clean(body):
    assert findings(f"module m(input a, output y); {body} endmodule") == []


def test_an_index_in_a_target_is_read_not_written():
    assert findings("module m(input [1:0] a, output reg [3:0] y); always @* y[a] = 1; endmodule") == []


def test_a_write_to_one_bit_of_an_input_is_found_in_every_form_of_target():
    text = "module m(input [1:0] a, output y);\nwire w;\nassign a[0] = 1;\nassign {w, a[1]} = 0;\nendmodule"
    message = "the input port 'a' is driven here; only the outside may drive an input"
    assert findings(text) == [(3, message), (4, message)]


def test_a_refused_construct_is_reported_once_with_its_line_and_reason():
    text = "module m;\nreg q;\ninitial force q = 1;\nendmodule"
    message = "procedural force statement is not allowed: it overrides signals of the testbench"
    assert findings(text) == [(3, message)]


def test_constructs_of_verification_are_not_in_the_allow_list():
    text = "module m(input clk); covergroup c @(posedge clk); endgroup endmodule"
    assert [line for line, _ in findings(text)] == [1]


def test_macros_count_with_their_expansion():
    text = "`define A 1 + 1\n`define B `A + `A\n"  # B is 7 lexemes
    enough = MAX_LEXEMES // 7
    assert check_text(text + "`B\n" * enough) == ()
    assert [finding.code for finding in check_text(text + "`B\n" * (enough + 1))] == ["size"]


@pytest.mark.parametrize(
    ("text", "line", "part"),
    [
        ('wire a;\n`include "x"', 2, "'`include' is neither"),
        ("`define F(x) x", 1, "has arguments"),
        ("`define A 1\n`define A 2", 2, "is defined twice"),
        ("`define __slang__ 1", 1, "no tool predefines"),
        ("`ifdef SIMULATOR\n`endif", 1, "depends on the tool"),
        ("wire \\x ;", 1, "escaped identifier"),
        ("a\n\nb\x00", 3, "U+0000"),
        ("a\rb", 1, "carriage return"),
        ("\ud800", 1, "U+D800"),
        ("wire caf\u00e9;", 1, "not ASCII"),
    ],
)
def test_a_rule_on_raw_text_names_the_line_and_what_is_wrong(text, line, part):
    (finding,) = check_text(text)
    assert finding.line == line
    assert part in finding.message


@pytest.mark.parametrize(
    "text", ["`timescale 1ns/1ps\r\n", "`define N 8 // eight\nwire [`N:0] a;", '// \u00e9 \\ ` "\n', "`undef X"]
)
def test_plain_directives_and_comments_are_clean(text):
    assert check_text(text) == ()
