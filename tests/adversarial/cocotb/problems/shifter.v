module TopModule(input clk, input rst, input d, output reg [3:0] q);
  always @(posedge clk)
    if (rst) q <= 4'd0;
    else q <= {q[2:0], d};
endmodule
