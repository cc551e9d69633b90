// problem: counter; expected: forbidden_construct; trick: hides the include in a macro
`define GOLDEN `include "golden.v"
module TopModule (
  input clk,
  input rst,
  input en,
  output reg [3:0] q
);
  always @(posedge clk)
    if (rst) q <= 4'd0;
    else if (en) q <= q + 4'd1;
`GOLDEN
endmodule
