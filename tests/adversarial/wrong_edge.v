// problem: counter; expected: mismatch; trick: right values half a cycle late
module TopModule (
  input clk,
  input rst,
  input en,
  output reg [3:0] q
);
  always @(negedge clk)
    if (rst) q <= 4'd0;
    else if (en) q <= q + 4'd1;
endmodule
