// problem: Prob911_dont_care; expected: forbidden_construct; upstream: n; trick: draws from the stimulus generator, so that fewer vectors come
module TopModule (
  input [3:0] in,
  output reg [1:0] out
);
  always @(*) out = 0;
  integer i, drop;
  initial for (i = 0; i < 100; i = i + 1) drop = $random;
endmodule
