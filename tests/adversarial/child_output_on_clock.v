// problem: counter; expected: forbidden_construct; trick: the output of a child drives the clock
module TopModule (
  input clk,
  input rst,
  input en,
  output reg [3:0] q
);
  always @(posedge clk)
    if (rst) q <= 4'd0;
    else if (en) q <= q + 4'd1;
  one o (.y(clk));
endmodule
module one (output y);
  assign y = 1'b1;
endmodule
