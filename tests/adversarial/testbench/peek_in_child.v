// problem: Prob908_detect; expected: forbidden_construct; upstream: .; trick: reads the expected value from a helper module
module TopModule (
  input [0:0] clk,
  input [0:0] reset,
  input [0:0] x,
  output [0:0] z
);
  Peek p (z);
endmodule
module Peek(output v);
  assign v = tb.z_ref;
endmodule
