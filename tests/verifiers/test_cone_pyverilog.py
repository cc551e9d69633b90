"""pyverilog's cones against pyslang's: two readers, one answer, on what pyverilog reads."""

import pytest

pytest.importorskip("pyverilog")

from hdl_bench.procedural.problems import make_problems
from toolchain.errors import UsageError
from verifiers.cone import cone_of
from verifiers.cone_pyverilog import cone_by_pyverilog, cone_of_either
from verifiers.interface import ports_of

_DESIGN = """module inv(input i, output o);
  assign o = ~i;
endmodule
module top(input clk, rst, input [1:0] s, input a, output reg q, output x, output reg y);
  wire n;
  assign n = a & s[0];
  inv u(.i(n), .o(x));
  always @(posedge clk)
    if (rst)
      q <= 0;
    else
      q <= x;
  always @* begin
    y = 0;
    case (s)
      2'd1:
        y = a;
      default:
        y = n;
    endcase
  end
endmodule
"""
_HAND_DRAWN = {
    "q": frozenset((2, 6, 7, 8, 9, 10, 12)),
    "x": frozenset((2, 6, 7)),
    "y": frozenset((6, 14, 15, 17, 19)),
}


def test_the_cone_is_the_one_drawn_by_hand_also_the_second_time():
    for _ in range(2):  # the parser is kept, and must not keep its line numbers
        assert cone_by_pyverilog(_DESIGN, "top", ("q", "x", "y")) == _HAND_DRAWN


@pytest.mark.parametrize(
    "text",
    [
        "`define N a\nmodule top(input a, output y);\n  assign y = `N;\nendmodule\n",
        "module top(input a, output logic y);\n  always_comb y = 'x;\nendmodule\n",
        "module top(input a, output y\n",
    ],
)
def test_what_pyverilog_does_not_read_is_refused(text):
    with pytest.raises(UsageError, match="pyverilog"):
        cone_by_pyverilog(text, "top", ("y",))


def test_where_pyverilog_refuses_pyslangs_walk_steps_in():
    head = "module top(input a, output logic y);\n  always_comb\n"
    text = f"{head}    for (int i = 0; i < 1; i++)\n      y = a;\nendmodule\n"
    assert cone_of_either(text, "top", ("y",)) == ({"y": frozenset((3, 4))}, "pyslang")
    assert cone_of_either(_DESIGN, "top", ("x",)) == ({"x": _HAND_DRAWN["x"]}, "pyverilog")


@pytest.mark.slow
def test_pyverilog_finds_no_line_that_the_walk_misses_on_procedural_goldens():
    num_equal = num_read = 0
    problems = make_problems(families=None, levels=(1, 2, 3), split="heldout", num_problems=60, seed=4)
    for problem in problems:
        golden, top = problem.oracle.golden, problem.oracle.golden_top
        outputs = [port.name for port in ports_of(golden, top) if port.direction == "output"]
        walked = cone_of(golden, top, outputs)
        try:
            found = cone_by_pyverilog(golden, top, outputs)
        except UsageError:
            continue
        assert all(found[name] <= walked[name] for name in outputs), problem.problem_id
        num_read += 1
        num_equal += found == walked
    assert num_read >= 50
    assert num_equal >= 0.9 * num_read
