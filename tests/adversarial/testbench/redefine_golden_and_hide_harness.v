// problem: Prob902_adder; expected: syntax_error; upstream: .; trick: own testbench and golden; a comment without an end swallows the real ones
module TopModule (
  input [3:0] a,
  input [3:0] b,
  output [4:0] sum
);
  assign sum = 0;

endmodule
module tb;
  initial $display("Mismatches: 0 in 82 samples");
endmodule
module stimulus_gen;
endmodule
/* 