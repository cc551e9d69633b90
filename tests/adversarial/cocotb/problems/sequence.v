module TopModule(input clk, input rst, input x, output z);
  reg [1:0] past;
  always @(posedge clk)
    if (rst) past <= 2'b00;
    else past <= {past[0], x};
  assign z = past == 2'b10 & x;
endmodule
