// problem: Prob903_mux; expected: mismatch; upstream: R; trick: leaves the output unknown
module TopModule (
  input [3:0] in,
  input [1:0] sel,
  output [0:0] out
);
  assign out = 1'bx;
endmodule
