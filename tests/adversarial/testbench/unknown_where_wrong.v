// problem: Prob907_shift; expected: mismatch; upstream: R; trick: turns unknown instead of wrong
module TopModule (
  input [0:0] clk,
  input [0:0] reset,
  input [0:0] in,
  output reg [7:0] q
);
  always @(posedge clk) if (reset) q <= 0; else q <= 8'hxx;
endmodule
