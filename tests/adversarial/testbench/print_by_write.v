// problem: Prob903_mux; expected: forbidden_construct; upstream: .; trick: writes the result line in pieces
module TopModule (
  input [3:0] in,
  input [1:0] sel,
  output [0:0] out
);
  assign out = 0;
  initial begin
    $write("Mism"); $write("atches: 0 in "); $write("82 samples\n");
  end
endmodule
