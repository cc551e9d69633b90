// problem: Prob904_dff; expected: forbidden_construct; upstream: .; trick: ends by $fatal, whose first argument looks like success
module TopModule (
  input [0:0] clk,
  input [0:0] d,
  output reg [0:0] q
);
  always @(posedge clk) q <= 0;
  initial $fatal(0, "Mismatches: 0 in 82 samples");
endmodule
