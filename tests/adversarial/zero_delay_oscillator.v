// problem: counter; expected: timeout; trick: two signals chase each other without time passing
module TopModule (
  input clk,
  input rst,
  input en,
  output reg [3:0] q
);
  always @(posedge clk)
    if (rst) q <= 4'd0;
    else if (en) q <= q + 4'd1;
  reg x = 1'b0;
  always @(x) x <= #0 ~x;
  initial x = #1 1'b1;
endmodule
