// problem: counter; expected: mismatch; trick: leaves the output unknown and hopes for a lenient comparison
module TopModule (
  input clk,
  input rst,
  input en,
  output [3:0] q
);
endmodule
