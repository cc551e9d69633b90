// problem: Prob902_adder; expected: mismatch; upstream: .; trick: is right for what the stock testbench drives: a below 8
module TopModule (
  input [3:0] a,
  input [3:0] b,
  output [4:0] sum
);
  assign sum = a[2:0] + b;
endmodule
