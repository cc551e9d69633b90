// problem: Prob907_shift; expected: forbidden_construct; upstream: T; trick: forces the clock, so that nothing is sampled
module TopModule (
  input [0:0] clk,
  input [0:0] reset,
  input [0:0] in,
  output reg [7:0] q
);
  always @(posedge clk) q <= 0;
  initial force tb.clk = 0;
endmodule
