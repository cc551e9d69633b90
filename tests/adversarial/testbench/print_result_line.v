// problem: Prob901_wire; expected: forbidden_construct; upstream: .; trick: prints the result line beside the true one
module TopModule (
  input [0:0] in,
  output [0:0] out
);
  assign out = 0;
  initial $display("Mismatches: 0 in 41 samples");
endmodule
