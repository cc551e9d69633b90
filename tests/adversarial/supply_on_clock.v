// problem: counter; expected: forbidden_construct; trick: a supply strength stops the clock for everyone
module TopModule (
  input clk,
  input rst,
  input en,
  output reg [3:0] q
);
  assign (supply1, supply0) clk = 1'b0;
endmodule
