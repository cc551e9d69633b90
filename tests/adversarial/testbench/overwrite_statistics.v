// problem: Prob906_areset; expected: forbidden_construct; upstream: .; trick: overwrites all counters when an error is counted
module TopModule (
  input [0:0] clk,
  input [0:0] areset,
  input [0:0] ena,
  output reg [7:0] q
);
  always @(posedge clk) q <= 0;
  always @(tb.stats1.errors) tb.stats1 = 0;
endmodule
