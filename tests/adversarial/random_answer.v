// problem: counter; expected: forbidden_construct; trick: answers by chance
module TopModule (
  input clk,
  input rst,
  input en,
  output reg [3:0] q
);
  always @(posedge clk) q <= $random;
endmodule
