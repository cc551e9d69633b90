"""Cones by hand: which lines can reach which output."""

import pytest

from toolchain.errors import UsageError
from verifiers.cone import cone_of, suspect_lines
from verifiers.cone_walk import ConeTooLarge
from verifiers.types import OutputScore


def _cones(text: str, *outputs: str, top: str = "top") -> dict[str, set[int]]:
    return {name: set(lines) for name, lines in cone_of(text, top, outputs).items()}


def _score(name: str, num_mismatches: int) -> OutputScore:
    return OutputScore(name=name, num_samples=9, num_mismatches=num_mismatches, constant_fraction=0.5)


def test_an_assignment_reaches_only_the_outputs_that_read_it():
    text = """module top(input a, b, output x, y);
  wire n;
  assign n = a & b;
  assign x = ~n;
  assign y = a;
endmodule
"""
    assert _cones(text, "x", "y") == {"x": {3, 4}, "y": {5}}


def test_a_net_declared_with_its_value_is_a_statement():
    text = "module top(input a, output x);\n  wire n = a;\n  assign x = n;\nendmodule\n"
    assert _cones(text, "x") == {"x": {2, 3}}


def test_conditions_and_clocks_around_an_assignment_belong_to_it():
    text = """module top(input clk, rst, d, output reg q, r);
  always @(posedge clk)
    if (rst)
      q <= 0;
    else
      q <= d;
  always @(posedge clk)
    r <= d;
endmodule
"""
    assert _cones(text, "q", "r") == {"q": {2, 3, 4, 6}, "r": {7, 8}}


def test_of_a_case_the_labels_of_the_own_items_belong_to_a_signal():
    text = """module top(input [1:0] s, input a, output reg x, y);
  always @* begin
    x = 0;
    y = 0;
    case (s)
      2'd1:
        x = a;
      2'd2:
        y = a;
      default:
        x = 1;
    endcase
  end
endmodule
"""
    assert _cones(text, "x", "y") == {"x": {3, 5, 6, 7, 11}, "y": {4, 5, 8, 9}}


def test_a_state_machine_carries_its_state_logic_along():
    text = """module top(input clk, rst, go, output busy, output idle);
  reg state, next;
  always @(posedge clk)
    state <= rst ? 1'b0 : next;
  always @*
    next = state ^ go;
  assign busy = state;
  assign idle = 1'b1;
endmodule
"""
    assert _cones(text, "busy", "idle") == {"busy": {3, 4, 6, 7}, "idle": {8}}


def test_an_index_on_the_left_is_read():
    text = """module top(input clk, input [1:0] a, input d, output [3:0] q);
  reg [3:0] m;
  wire [1:0] w;
  assign w = a + 2'd1;
  always @(posedge clk)
    m[w] <= d;
  assign q = m;
endmodule
"""
    assert _cones(text, "q") == {"q": {4, 5, 6, 7}}


def test_the_cone_goes_through_instances_in_both_directions():
    text = """module inv(input i, output o, p);
  assign o = ~i;
  assign p = 1'b0;
endmodule
module top(input a, b, output x, y);
  wire n;
  assign n = a | b;
  inv u(.i(n), .o(x), .p(y));
endmodule
"""
    assert _cones(text, "x", "y") == {"x": {2, 7, 8}, "y": {3, 8}}


def test_a_function_brings_its_body_and_its_arguments_but_not_those_of_other_calls():
    text = """module top(input [3:0] a, b, output [3:0] x, y);
  function [3:0] twice(input [3:0] v);
    twice = v << 1;
  endfunction
  wire [3:0] m;
  wire [3:0] n;
  assign m = a;
  assign n = b;
  assign x = twice(m);
  assign y = twice(n);
endmodule
"""
    assert _cones(text, "x", "y") == {"x": {3, 7, 9}, "y": {3, 8, 10}}


def test_a_function_that_returns_brings_the_condition_of_the_return():
    text = """module top(input a, b, output x);
  function automatic logic pick(input logic u, v);
    if (u)
      return v;
    return 1'b0;
  endfunction
  assign x = pick(a, b);
endmodule
"""
    assert _cones(text, "x") == {"x": {3, 4, 5, 7}}


def test_a_task_drives_what_it_is_given_under_the_callers_condition():
    text = """module top(input clk, en, d, output reg q, output reg other);
  task store(input v, output o);
    o = ~v;
  endtask
  always @(posedge clk)
    if (en)
      store(d, q);
  always @*
    other = d;
endmodule
"""
    assert _cones(text, "q", "other") == {"q": {3, 5, 6, 7}, "other": {9}}


def test_gates_and_user_primitives_drive_their_outputs():
    text = """primitive both(o, a, b);
  output o;
  input a, b;
  table
    1 1 : 1;
    0 ? : 0;
    ? 0 : 0;
  endtable
endprimitive
module top(input a, b, output x, y);
  and g(x, a, b);
  both u(y, a, b);
endmodule
"""
    assert _cones(text, "x", "y") == {"x": {11}, "y": {1, 2, 3, 4, 5, 6, 7, 8, 9, 12}}


def test_an_undriven_signal_gives_the_line_that_declares_it():
    text = "module top(input a,\n  output x,\n  output y);\n  wire\n    n;\n  assign x = n & a;\nendmodule\n"
    assert _cones(text, "x", "y") == {"x": {5, 6}, "y": {3}}


def test_a_loop_brings_its_head_and_compound_steps():
    text = """module top(input [7:0] d, output reg [3:0] n);
  integer i;
  always @* begin
    n = 0;
    for (i = 0; i < 8; i = i + 1)
      n += d[i];
  end
endmodule
"""
    assert _cones(text, "n") == {"n": {4, 5, 6}}


def test_generated_blocks_are_unrolled():
    text = """module top(input [3:0] a, output [3:0] y, output z);
  genvar i;
  generate
    for (i = 0; i < 4; i = i + 1) begin : bit_of
      wire t;
      assign t = ~a[i];
      assign y[i] = t;
    end
  endgenerate
  assign z = a[0];
endmodule
"""
    assert _cones(text, "y", "z") == {"y": {6, 7}, "z": {10}}


def test_a_named_event_carries_what_triggers_it():
    text = """module top(input clk, d, output reg q);
  event go;
  always @(posedge clk)
    if (d)
      -> go;
  always @(go)
    q = ~q;
endmodule
"""
    assert _cones(text, "q") == {"q": {3, 4, 5, 6, 7}}


def test_a_long_chain_of_else_if_needs_no_deep_stack():
    arms = "".join(f"    else if (s == 8'd{i})\n      y = {i % 2};\n" for i in range(100))
    text = (
        f"module top(input [7:0] s, output reg y);\n  always @*\n    if (s == 8'd200)\n      y = 1;\n{arms}endmodule\n"
    )
    assert _cones(text, "y") == {"y": set(range(3, 205))}


def test_a_design_with_too_many_drivers_is_refused_by_name():
    text = """module top(input [15:0] a, output [15:0] y);
  genvar i, j;
  generate for (i = 0; i < 60; i = i + 1) begin : g
    for (j = 0; j < 120; j = j + 1) begin : h
      wire p = a[0], q = a[1], r = p, s = q;
    end
  end endgenerate
  assign y = a;
endmodule
"""
    with pytest.raises(ConeTooLarge, match="more than 20000 drivers"):
        cone_of(text, "top", ("y",))
    assert suspect_lines(text, "top", (_score("y", 1),)) == ()


def test_suspects_are_the_cones_of_the_wrong_outputs_only():
    text = "module top(input a, output x, y, z);\n  assign x = a;\n  assign y = x;\n  assign z = ~a;\nendmodule\n"
    assert suspect_lines(text, "top", (_score("x", 0), _score("y", 3), _score("z", 0))) == (2, 3)
    assert suspect_lines(text, "top", (_score("x", 0),)) == ()


@pytest.mark.parametrize(("top", "output"), [("other", "y"), ("top", "z")])
def test_a_missing_module_or_output_is_refused_by_name(top, output):
    with pytest.raises(UsageError, match=output if top == "top" else top):
        cone_of("module top(output y);\n  assign y = 0;\nendmodule\n", top, (output,))
