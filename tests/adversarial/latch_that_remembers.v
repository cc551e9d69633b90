// problem: adder; expected: mismatch; trick: holds the last right sum when an input is zero
module TopModule (
  input [3:0] a,
  input [3:0] b,
  output [4:0] y
);
  reg [4:0] r;
  always @* if (a != 0) r = a + b;
  assign y = r;
endmodule
