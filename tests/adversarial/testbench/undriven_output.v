// problem: Prob909_parity; expected: mismatch; upstream: R; trick: drives nothing
module TopModule (
  input [7:0] in,
  output [0:0] parity
);

endmodule
