module TopModule(input clk, input rst, output [3:0] g);
  reg [3:0] n;
  always @(posedge clk)
    if (rst) n <= 4'd0;
    else n <= n + 4'd1;
  assign g = n ^ (n >> 1);
endmodule
