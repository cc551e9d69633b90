"""Canonical forms: what renaming and reordering leave equal, and what they must not make equal."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hdl_bench.overlap import _marks_of
from hdl_bench.procedural.families import FAMILIES
from hdl_bench.structure import canonical_form
from verifiers.lexer import LexemeKind, lex

DESIGN = """module top(input [3:0] a, b, input clk, output reg [3:0] q, output y);
  wire [3:0] s; // the inverse
  sub u(.p(a), .r(s));
  assign y = ^s & 4'd9 == b;
  always @(posedge clk) q <= s + b;
endmodule
module sub(input [3:0] p, output [3:0] r);
  assign r = ~p;
endmodule
"""
RENAMED = """module Inverter(input [3:0] in, output [3:0] out); assign out = ~in; endmodule
module TopModule(output parity, input ck, input [3:0] x, input [3:0] z, output reg [3:0] sum);
  always @(posedge ck)
    sum <= inverse + z;
  Inverter inverter(.out(inverse), .in(x));  /* instance */
  wire [3:0] inverse;
  assign parity = ^inverse & 4'b1001 == z;
endmodule
"""


def renamed(text: str, rng: random.Random) -> str:
    """The text with every name replaced, and comments and white space put between its lexemes."""
    names: dict[str, str] = {}
    pieces = []
    for lexeme in lex(text):
        piece = text[lexeme.start : lexeme.end]
        if lexeme.kind is LexemeKind.IDENTIFIER and not piece.startswith("$"):
            piece = names.setdefault(piece, f"n{rng.randrange(1 << 60):x}_{len(names)}")
        elif lexeme.kind is LexemeKind.WHITESPACE:
            piece = rng.choice((" ", "\n", "\t // note\n", " /* module x; */ ")) + piece
        pieces.append(piece)
    return "".join(pieces)


def test_names_comments_order_and_the_base_of_literals_make_no_difference():
    assert canonical_form(DESIGN) == canonical_form(RENAMED) is not None
    assert _marks_of(DESIGN) == _marks_of(RENAMED)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("inverse + z", "inverse + x"),  # another input, though inputs alone are alike
        ("4'b1001", "4'b1000"),
        ("posedge", "negedge"),
        ("~in", "in"),
        (".out(inverse), .in(x)", ".out(inverse), .in(z)"),
        ("output [3:0] out", "output [2:0] out"),
        ("assign parity", "assign  sum"),
    ],
)
def test_another_design_has_another_form(old, new):
    assert old in RENAMED
    assert canonical_form(RENAMED.replace(old, new)) != canonical_form(DESIGN)


def test_a_port_takes_direction_and_width_from_the_one_before():
    one = "module m(input [3:0] a, b, output y); assign y = a == b; endmodule"
    other = "module m(output y, input [3:0] a, input [3:0] b); assign y = a == b; endmodule"
    narrow = "module m(output y, input [3:0] a, input b); assign y = a == b; endmodule"
    assert canonical_form(one) == canonical_form(other) != canonical_form(narrow)


def test_the_order_of_ports_matters_where_they_are_connected_by_order():
    text = "module m(input a, input b, output y); sub u(a, b, y); endmodule\n"
    one = text + "module sub(input p, input q, output r); assign r = p & ~q; endmodule"
    other = text + "module sub(input q, input p, output r); assign r = p & ~q; endmodule"
    straight = text.replace("sub u(a, b, y);", "sub u(a, b, y); assign z = a;").replace("output y", "output y, z")
    assert canonical_form(one) != canonical_form(other.replace("sub u(a, b, y)", "sub u(a, a, y)"))
    assert canonical_form(straight + one[len(text) :]) != canonical_form(straight + other[len(text) :])


def test_a_wildcard_connection_ties_the_names_of_two_modules():
    text = "module m(input a, input b, output r); sub u(.*); assign x = a; endmodule\n"
    one = canonical_form(text + "module sub(input a, input b, output r); assign r = a & ~b; endmodule")
    other = canonical_form(text + "module sub(input a, input b, output r); assign r = b & ~a; endmodule")
    assert None is not one != other


def test_macros_and_conditions_are_expanded():
    plain = "module m(input a, output y); assign y = ~a; endmodule"
    macro = "`timescale 1ns/1ps\n`define NOT ~\nmodule m(input a, output y); assign y = `NOT a; endmodule"
    other = "`ifdef X\n`else\nmodule m(input \\a+b , output y); assign y = ~\\a+b ; endmodule\n`endif"
    assert canonical_form(plain) == canonical_form(macro) == canonical_form(other)
    assert _marks_of(plain) == _marks_of(macro) == _marks_of(other)


def test_what_is_no_whole_module_has_no_form():
    assert canonical_form("module m(input a; endmodule") is None
    assert canonical_form("module m; " + " " * 300_000 + "endmodule") is None


def test_a_long_sum_does_not_exhaust_the_stack():
    text = f"module m(input a, output y); assign y = {' + '.join(['a'] * 5_000)}; endmodule"
    assert canonical_form(text) is not None


@settings(max_examples=60, deadline=None)
@given(family=st.sampled_from(sorted(FAMILIES)), seed=st.integers(0, 10_000))
def test_renaming_never_changes_the_form_of_a_procedural_golden(family, seed):
    rng = random.Random(seed)
    golden = FAMILIES[family].draw(rng, rng.choice(FAMILIES[family].levels)).golden
    other = renamed(golden, rng)
    assert canonical_form(other) == canonical_form(golden) is not None
    assert _marks_of(other) == _marks_of(golden)
