"""Protocols read off goldens: each way to write a clock or a reset, and what must not be taken for one."""

import pytest

from toolchain.errors import UsageError
from verifiers.infer import constant_outputs, infer_protocol
from verifiers.types import Clock, Reset


def clocked(event: str, body: str) -> str:
    header = "module top(input clk, input rst, input rst_n, input en, input [3:0] d, output reg [3:0] q);"
    return f"{header}\n  always @({event}) begin\n{body}\n  end\nendmodule\n"


def reset_of(event: str, body: str) -> tuple[Reset, ...]:
    return infer_protocol(clocked(event, body), "top").resets


@pytest.mark.parametrize("edge", ["posedge", "negedge"])
def test_the_edge_of_a_lone_event_is_the_clocks(edge):
    assert infer_protocol(clocked(f"{edge} clk", "q <= d;"), "top").clocks == (Clock(name="clk", edge=edge),)


def test_a_clock_used_on_both_edges_is_both():
    golden = "module top(input clk, input d, output reg p, output reg n);\n"
    golden += "always @(posedge clk) p <= d; always @(negedge clk) n <= d; endmodule"
    assert infer_protocol(golden, "top").clocks == (Clock(name="clk", edge="both"),)


def test_combinational_code_has_no_protocol():
    protocol = infer_protocol("module top(input a, output y); assign y = ~a; endmodule", "top")
    assert (protocol.clocks, protocol.resets) == ((), ())


def test_a_tested_edge_is_an_asynchronous_reset_with_the_polarity_of_the_edge():
    high = Reset(name="rst", is_active_high=True, is_synchronous=False)
    low = Reset(name="rst_n", is_active_high=False, is_synchronous=False)
    assert reset_of("posedge clk or posedge rst", "if (rst) q <= 0; else q <= d;") == (high,)
    assert reset_of("posedge clk or negedge rst_n", "if (!rst_n) q <= 0; else q <= d;") == (low,)


@pytest.mark.parametrize(
    ("body", "name", "is_active_high"),
    [
        ("if (rst) q <= 0; else q <= q + 1;", "rst", True),
        ("if (rst == 1'b1) q <= 4'd3; else q <= q + 1;", "rst", True),
        ("if (rst_n == 1'b0) q <= 0; else q <= d;", "rst_n", False),
        ("if (~rst_n) q <= 0; else q <= d;", "rst_n", False),
        ("if (rst || q == 4'd9) q <= 0; else q <= q + 1;", "rst", True),
        ("if (rst_n) q <= d; else q <= 0;", "rst_n", False),
        ("q <= d; if (rst) q <= 0;", "rst", True),
        ("q <= rst ? 4'd0 : d;", "rst", True),
        ("if (rst) q <= 0; else case (q) 0: if (d[0]) q <= 1; 1: q <= 2; default: q <= 0; endcase", "rst", True),
    ],
)
def test_each_form_of_a_synchronous_reset_is_found(body, name, is_active_high):
    assert reset_of("posedge clk", body) == (Reset(name=name, is_active_high=is_active_high, is_synchronous=True),)


@pytest.mark.parametrize(
    "body",
    [
        "q <= d;",
        "if (en) q <= d;",
        "if (en) q <= 4'd1; else q <= 4'd0;",
        "if (d == 0) q <= 0; else q <= d;",
        "q[0] <= en; q[3:1] <= 0;",
    ],
)
def test_data_and_enables_are_no_resets(body):
    assert reset_of("posedge clk", body) == ()


@pytest.mark.parametrize(
    ("event", "body", "names"),
    [
        ("posedge clk", "if (rst) q <= 0; else if (en) q <= 1; else q <= d;", ["rst"]),
        ("posedge clk", "if (rst) q <= 0; else if (d[0]) q <= 1; else if (d[1]) q <= 2; else q <= 0;", ["rst"]),
        ("posedge clk or negedge rst_n", "if (!rst_n) q <= 0; else if (en) q <= 0; else q <= d;", ["rst_n"]),
    ],
)
def test_a_clear_behind_a_reset_is_an_ordinary_input(event, body, names):
    assert [reset.name for reset in reset_of(event, body)] == names


def test_a_loop_that_clears_a_memory_is_a_reset():
    golden = """module top(input clk, input clr, input [1:0] a, input [3:0] d, output [3:0] q);
      reg [3:0] m [0:3]; integer i;
      always @(posedge clk) if (clr) for (i = 0; i < 4; i = i + 1) m[i] <= 0; else m[a] <= d;
      assign q = m[a]; endmodule"""
    assert infer_protocol(golden, "top").resets == (Reset(name="clr", is_active_high=True, is_synchronous=True),)


def test_clocks_and_resets_are_followed_through_instances_and_inversions():
    golden = """module top(input ck, input nrst, input d, output q);
      wire r = ~nrst; wire c; assign c = ck;
      ff u(.clk(~c), .rst(r), .d(d), .q(q)); endmodule
    module ff(input clk, input rst, input d, output reg q);
      always @(posedge clk or posedge rst) if (rst) q <= 0; else q <= d; endmodule"""
    protocol = infer_protocol(golden, "top")
    assert protocol.clocks == (Clock(name="ck", edge="negedge"),)
    assert protocol.resets == (Reset(name="nrst", is_active_high=False, is_synchronous=False),)


def test_two_instances_of_one_module_carry_their_own_clocks():
    golden = """module top(input a, input b, input d, output p, output q);
      ff u(a, d, p); ff v(b, d, q); endmodule
    module ff(input clk, input d, output reg q); always @(posedge clk) q <= d; endmodule"""
    assert [clock.name for clock in infer_protocol(golden, "top").clocks] == ["a", "b"]


def test_constant_outputs_are_those_with_constant_drivers_only():
    golden = """module top(input a, output k, output v, output reg r, output reg s, output h, output reg i, output w);
      localparam ONE = 1;
      assign k = ONE; assign v = a;
      always @(*) r = 1'b0;
      always @(*) if (a) s = 1'b1; else s = 1'b0;
      tie t(.y(h)); initial i = 0; wire z = a; assign w = z; endmodule
    module tie(output y); assign y = 1'b1; endmodule"""
    assert constant_outputs(golden, "top") == {"k", "r", "h", "i"}


def test_an_output_with_one_constant_half_is_not_constant():
    golden = "module top(input a, output [1:0] y); assign y[0] = 1'b0; assign y[1] = a; endmodule"
    assert constant_outputs(golden, "top") == frozenset()


@pytest.mark.parametrize(
    "golden", ["module other; endmodule", "module top(; endmodule", "module top; x y(); endmodule"]
)
def test_a_golden_that_cannot_be_read_is_the_users_error(golden):
    with pytest.raises(UsageError, match="cannot read 'top'"):
        infer_protocol(golden, "top")
