// problem: adder; expected: mismatch; trick: drops the carry
module TopModule (
  input [3:0] a,
  input [3:0] b,
  output [4:0] y
);
  assign y = {1'b0, a + b} & 5'h0f;
endmodule
