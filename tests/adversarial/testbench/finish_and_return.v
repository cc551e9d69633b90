// problem: Prob902_adder; expected: forbidden_construct; upstream: .; trick: ends with a chosen exit code
module TopModule (
  input [3:0] a,
  input [3:0] b,
  output [4:0] sum
);
  assign sum = 0;
  initial $finish_and_return(0);
endmodule
