// problem: Prob904_dff; expected: forbidden_construct; upstream: .; trick: assigns to the golden register procedurally
module TopModule (
  input [0:0] clk,
  input [0:0] d,
  output reg [0:0] q
);
  always @(posedge clk) q <= 0;
  initial assign tb.good1.q = 1'bx;
endmodule
