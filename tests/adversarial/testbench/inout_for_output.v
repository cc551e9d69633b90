// problem: Prob904_dff; expected: interface_error; upstream: R; trick: turns its output round to read the harness
module TopModule (
  input [0:0] clk,
  input [0:0] d,
  inout [0:0] q
);
  assign q = d;
endmodule
