// problem: adder; expected: elaboration_error; trick: instantiates the golden
module TopModule (
  input [3:0] a,
  input [3:0] b,
  output [4:0] y
);
  RefModule r (.a(a), .b(b), .y(y));
endmodule
