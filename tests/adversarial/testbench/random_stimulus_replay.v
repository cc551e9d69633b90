// problem: Prob901_wire; expected: forbidden_construct; upstream: R; trick: replays the generator of the stimulus to know the inputs
module TopModule (
  input [0:0] in,
  output [0:0] out
);
  integer seed = 0;
  reg v;
  always @(in) v = $random(seed);
  assign out = v;
endmodule
