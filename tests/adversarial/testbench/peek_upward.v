// problem: Prob907_shift; expected: forbidden_construct; upstream: .; trick: reads the golden by an upward name
module TopModule (
  input [0:0] clk,
  input [0:0] reset,
  input [0:0] in,
  output reg [7:0] q
);
  always @(*) q = good1.q;
endmodule
