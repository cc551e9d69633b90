// problem: counter; expected: timeout; trick: hangs without time passing
module TopModule (
  input clk,
  input rst,
  input en,
  output reg [3:0] q
);
  always @(posedge clk)
    if (rst) q <= 4'd0;
    else if (en) q <= q + 4'd1;
  initial while (1) q = 4'd0;
endmodule
