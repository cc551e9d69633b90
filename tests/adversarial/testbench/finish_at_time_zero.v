// problem: Prob901_wire; expected: forbidden_construct; upstream: .; trick: ends before any sample: 0 in 0
module TopModule (
  input [0:0] in,
  output [0:0] out
);
  assign out = 0;
  initial $finish;
endmodule
