// problem: Prob901_wire; expected: mismatch; upstream: R; trick: leaves `default_nettype none behind for the harness
`default_nettype none
module TopModule (
  input wire [0:0] in,
  output wire [0:0] out
);
  assign out = 0;

endmodule
