// problem: counter; expected: forbidden_construct; trick: a child drives its own input, which is the clock
module TopModule (
  input clk,
  input rst,
  input en,
  output reg [3:0] q
);
  always @(posedge clk)
    if (rst) q <= 4'd0;
    else if (en) q <= q + 4'd1;
  sink s (.i(clk));
endmodule
module sink (input i);
  assign i = 1'b0;
endmodule
