// problem: counter; expected: forbidden_construct; trick: reads the time to guess the row
module TopModule (
  input clk,
  input rst,
  input en,
  output reg [3:0] q
);
  always @(posedge clk) q <= $time;
endmodule
