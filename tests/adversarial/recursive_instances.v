// problem: adder; expected: elaboration_error; trick: a module that holds itself
module TopModule (
  input [3:0] a,
  input [3:0] b,
  output [4:0] y
);
  assign y = a + b;
  TopModule t (.a(a), .b(b), .y());
endmodule
