// problem: counter; expected: forbidden_construct; trick: a declaration drives the clock
module TopModule (clk, rst, en, q);
  input clk, rst, en;
  output reg [3:0] q;
  wire clk = 1'b0;
  always @(posedge clk)
    if (rst) q <= 4'd0;
    else if (en) q <= q + 4'd1;
endmodule
