// problem: Prob903_mux; expected: timeout; upstream: T; trick: a chain that feeds back in zero time
module TopModule (
  input [3:0] in,
  input [1:0] sel,
  output [0:0] out
);
  reg a = 0;
  always @(a or in) a <= ~a;
  assign out = in[sel];
endmodule
