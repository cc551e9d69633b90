// problem: counter; expected: forbidden_construct; trick: its own module tb makes the upward name resolve
module TopModule (
  input clk,
  input rst,
  input en,
  output reg [3:0] q
);
  always @(posedge clk)
    if (rst) q <= 4'd0;
    else if (en) q <= q + 4'd1;
  initial tb.errors = 0;
endmodule
module tb;
  integer errors;
endmodule
