// problem: counter; expected: forbidden_construct; trick: an input that is a variable it writes
module TopModule (
  input var logic clk,
  input rst,
  input en,
  output reg [3:0] q
);
  always @(posedge clk)
    if (rst) q <= 4'd0;
    else if (en) q <= q + 4'd1;
  initial clk = 1'b0;
endmodule
