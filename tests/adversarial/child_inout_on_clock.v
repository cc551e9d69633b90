// problem: counter; expected: forbidden_construct; trick: an inout of a child drives the clock
module TopModule (
  input clk,
  input rst,
  input en,
  output reg [3:0] q
);
  always @(posedge clk)
    if (rst) q <= 4'd0;
    else if (en) q <= q + 4'd1;
  pin p (.z(clk));
endmodule
module pin (inout z);
  assign z = 1'b0;
endmodule
