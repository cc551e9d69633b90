// problem: counter; expected: forbidden_construct; trick: calls a task of the testbench
module TopModule (
  input clk,
  input rst,
  input en,
  output reg [3:0] q
);
  always @(posedge clk)
    if (rst) q <= 4'd0;
    else if (en) q <= q + 4'd1;
  initial tb.reset_test();
endmodule
