// problem: Prob909_parity; expected: elaboration_error; upstream: .; trick: instantiates the golden
module TopModule (
  input [7:0] in,
  output [0:0] parity
);
  RefModule r (.in(in), .parity(parity));
endmodule
