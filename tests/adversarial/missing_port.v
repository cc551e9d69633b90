// problem: adder; expected: interface_error; trick: a port is missing
module TopModule (
  input [3:0] a,
  output [4:0] y
);
  assign y = a;
endmodule
