// problem: counter; expected: forbidden_construct; trick: reads the command line of the simulator
module TopModule (
  input clk,
  input rst,
  input en,
  output reg [3:0] q
);
  always @(posedge clk)
    if (rst) q <= 4'd0;
    else if (en) q <= q + 4'd1;
  reg x;
  initial x = $test$plusargs("golden");
endmodule
