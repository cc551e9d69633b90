// problem: Prob905_count; expected: forbidden_construct; upstream: n; trick: a gate drives the clock input
module TopModule (
  input [0:0] clk,
  input [0:0] reset,
  output reg [3:0] q
);
  always @(*) q = 0;
  buf (supply0, supply1) (clk, reset);
endmodule
