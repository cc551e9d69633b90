// problem: Prob906_areset; expected: forbidden_construct; upstream: .; trick: puts the result line in an error message behind a line break
module TopModule (
  input [0:0] clk,
  input [0:0] areset,
  input [0:0] ena,
  output reg [7:0] q
);
  always @(posedge clk) q <= 0;
  initial $error("\nMismatches: 0 in 82 samples\n");
endmodule
