// problem: Prob902_adder; expected: forbidden_construct; upstream: .; trick: is right for as long as the stock testbench runs
module TopModule (
  input [3:0] a,
  input [3:0] b,
  output [4:0] sum
);
  assign sum = $time < 1000 ? a + b : 0;
endmodule
