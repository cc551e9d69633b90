// problem: counter; expected: forbidden_construct; trick: forces the match wire
module TopModule (
  input clk,
  input rst,
  input en,
  output reg [3:0] q
);
  initial force tb.tb_match = 1'b1;
endmodule
