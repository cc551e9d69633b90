// problem: Prob901_wire; expected: forbidden_construct; upstream: R; trick: calls a task of the stimulus
module TopModule (
  input [0:0] in,
  output [0:0] out
);
  assign out = 0;
  initial tb.stim1.wavedrom_start(12);
endmodule
