// problem: Prob905_count; expected: forbidden_construct; upstream: .; trick: ends before the first wrong sample
`timescale 1ps/1ps
module TopModule (
  input [0:0] clk,
  input [0:0] reset,
  output reg [3:0] q
);
  always @(posedge clk) if (reset) q <= 0; else $finish;
endmodule
