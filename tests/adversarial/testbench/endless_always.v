// problem: Prob903_mux; expected: elaboration_error; upstream: C; trick: an always block without a delay
module TopModule (
  input [3:0] in,
  input [1:0] sel,
  output [0:0] out
);
  reg a = 0;
  always a = ~a;
  assign out = in[sel];
endmodule
