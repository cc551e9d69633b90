// problem: counter; expected: forbidden_construct; trick: ends by a fatal message
module TopModule (
  input clk,
  input rst,
  input en,
  output reg [3:0] q
);
  initial $fatal(0);
endmodule
