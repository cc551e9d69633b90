// problem: Prob903_mux; expected: forbidden_construct; upstream: R; trick: stops, so that the batch run ends
module TopModule (
  input [3:0] in,
  input [1:0] sel,
  output [0:0] out
);
  assign out = 0;
  initial $stop;
endmodule
