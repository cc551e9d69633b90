// problem: adder; expected: interface_error; trick: one more port
module TopModule (
  input [3:0] a,
  input [3:0] b,
  output [4:0] y,
  input golden
);
  assign y = a + b;
endmodule
