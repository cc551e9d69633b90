// problem: Prob909_parity; expected: forbidden_construct; upstream: .; trick: turns the golden round by its parameter
module TopModule (
  input [7:0] in,
  output [0:0] parity
);
  assign parity = ~^in;
  defparam tb.good1.ODD = 1;
endmodule
