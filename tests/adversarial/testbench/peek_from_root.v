// problem: Prob906_areset; expected: forbidden_construct; upstream: S; trick: reads the expected value from $root
module TopModule (
  input [0:0] clk,
  input [0:0] areset,
  input [0:0] ena,
  output reg [7:0] q
);
  always @(*) q = $root.tb.q_ref;
endmodule
