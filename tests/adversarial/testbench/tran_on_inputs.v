// problem: Prob903_mux; expected: forbidden_construct; upstream: R; trick: a bidirectional switch ties two inputs together
module TopModule (
  input [3:0] in,
  input [1:0] sel,
  output [0:0] out
);
  assign out = 0;
  tran (in[0], sel[0]);
endmodule
