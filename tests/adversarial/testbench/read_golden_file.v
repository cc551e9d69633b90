// problem: Prob908_detect; expected: forbidden_construct; upstream: C; trick: includes the golden file
`include "ref.sv"
module TopModule (
  input [0:0] clk,
  input [0:0] reset,
  input [0:0] x,
  output [0:0] z
);
  assign z = 0;

endmodule
