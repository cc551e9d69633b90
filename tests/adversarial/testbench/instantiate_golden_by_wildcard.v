// problem: Prob907_shift; expected: elaboration_error; upstream: .; trick: instantiates the golden, all ports by name
module TopModule (
  input [0:0] clk,
  input [0:0] reset,
  input [0:0] in,
  output [7:0] q
);
  RefModule r (.*);
endmodule
