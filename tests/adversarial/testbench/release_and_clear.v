// problem: Prob905_count; expected: forbidden_construct; upstream: .; trick: clears the error counter in a loop
`timescale 1ps/1ps
module TopModule (
  input [0:0] clk,
  input [0:0] reset,
  output reg [3:0] q
);
  always @(posedge clk) q <= 0;
  initial forever #1 tb.stats1.errors = 0;
endmodule
