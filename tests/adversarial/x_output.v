// problem: counter; expected: mismatch; trick: assigns x to match anything
module TopModule (
  input clk,
  input rst,
  input en,
  output reg [3:0] q
);
  initial q = 4'bx;
endmodule
