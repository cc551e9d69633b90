// problem: Prob904_dff; expected: mismatch; upstream: R; trick: leaves a time scale behind in which the harness never ends
`timescale 1s/1s
module TopModule (
  input [0:0] clk,
  input [0:0] d,
  output reg [0:0] q
);
  always @(posedge clk) q <= 0;

endmodule
