// problem: counter; expected: forbidden_construct; trick: reads the inside of an instance
module TopModule (
  input clk,
  input rst,
  input en,
  output reg [3:0] q
);
  always @(posedge clk)
    if (rst) q <= 4'd0;
    else if (en) q <= q + 4'd1;
  inner i (.a(rst));
  wire z = i.w;
endmodule
module inner (input a);
  wire w = ~a;
endmodule
