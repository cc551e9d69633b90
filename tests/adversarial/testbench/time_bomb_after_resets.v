// problem: Prob906_areset; expected: mismatch; upstream: .; trick: is right until the counter first passes 63
module TopModule (
  input [0:0] clk,
  input [0:0] areset,
  input [0:0] ena,
  output reg [7:0] q
);
  always @(posedge clk, posedge areset) if (areset) q <= 0; else if (ena) q <= q == 63 ? 0 : q + 1;
endmodule
