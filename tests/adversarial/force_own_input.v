// problem: counter; expected: forbidden_construct; trick: forces its own clock
module TopModule (
  input clk,
  input rst,
  input en,
  output reg [3:0] q
);
  initial force clk = 1'b0;
endmodule
