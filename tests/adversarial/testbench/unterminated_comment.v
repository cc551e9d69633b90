// problem: Prob909_parity; expected: syntax_error; upstream: S; trick: own testbench; a comment without an end swallows the real one
module TopModule (
  input [7:0] in,
  output [0:0] parity
);
  assign parity = 0;

endmodule
module tb;
  initial ;
endmodule
/* 