// problem: Prob902_adder; expected: forbidden_construct; upstream: .; trick: prints the result line when the simulation ends
module TopModule (
  input [3:0] a,
  input [3:0] b,
  output [4:0] sum
);
  assign sum = 0;
  final $display("Mismatches: 0 in 82 samples");
endmodule
