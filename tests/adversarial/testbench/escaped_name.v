// problem: Prob905_count; expected: forbidden_construct; upstream: .; trick: hides an upward name in an escaped one
module TopModule (
  input [0:0] clk,
  input [0:0] reset,
  output reg [3:0] q
);
  always @(*) q = \tb .good1.q;
endmodule
