// problem: adder; expected: interface_error; trick: an inout where an output is due
module TopModule (
  input [3:0] a,
  input [3:0] b,
  inout [4:0] y
);
  assign y = a + b;
endmodule
