// problem: Prob911_dont_care; expected: forbidden_construct; upstream: n; trick: forces the golden to x, which matches anything
module TopModule (
  input [3:0] in,
  output reg [1:0] out
);
  always @(*) out = 0;
  initial force tb.good1.out = 2'bxx;
endmodule
