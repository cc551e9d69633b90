// problem: counter; expected: forbidden_construct; trick: ends the simulation before the first comparison
module TopModule (
  input clk,
  input rst,
  input en,
  output reg [3:0] q
);
  initial $finish;
endmodule
