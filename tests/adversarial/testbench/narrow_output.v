// problem: Prob906_areset; expected: interface_error; upstream: R; trick: gives one bit where eight are asked for
module TopModule (
  input [0:0] clk,
  input [0:0] areset,
  input [0:0] ena,
  output reg q
);
  always @(posedge clk) q <= 0;
endmodule
