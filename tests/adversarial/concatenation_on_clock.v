// problem: counter; expected: forbidden_construct; trick: the clock in a concatenation
module TopModule (
  input clk,
  input rst,
  input en,
  output reg [3:0] q
);
  always @(posedge clk)
    if (rst) q <= 4'd0;
    else if (en) q <= q + 4'd1;
  wire w;
  assign {w, clk} = 2'b00;
endmodule
