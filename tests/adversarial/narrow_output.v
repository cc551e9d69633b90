// problem: adder; expected: interface_error; trick: an output of another width
module TopModule (
  input [3:0] a,
  input [3:0] b,
  output [3:0] y
);
  assign y = a + b;
endmodule
