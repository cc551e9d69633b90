// problem: Prob908_detect; expected: forbidden_construct; upstream: C; trick: drives its clock input with the strongest strength
module TopModule (
  input [0:0] clk,
  input [0:0] reset,
  input [0:0] x,
  output [0:0] z
);
  assign z = 0;
  assign (supply1, supply0) clk = 0;
endmodule
