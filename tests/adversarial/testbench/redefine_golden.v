// problem: Prob902_adder; expected: mismatch; upstream: C; trick: defines a golden of its own
module TopModule (
  input [3:0] a,
  input [3:0] b,
  output [4:0] sum
);
  assign sum = 0;

endmodule
module RefModule (input [3:0] a, input [3:0] b, output [4:0] sum);
  assign sum = 0;
endmodule
