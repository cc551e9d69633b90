// problem: counter; expected: mismatch; trick: a constant that often matches
module TopModule (
  input clk,
  input rst,
  input en,
  output reg [3:0] q
);
  initial q = 4'd0;
endmodule
