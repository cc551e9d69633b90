module TopModule(input clk, input rst, input d, output reg rise);
  reg last;
  always @(posedge clk)
    if (rst) begin
      last <= 1'b0;
      rise <= 1'b0;
    end else begin
      last <= d;
      rise <= d & ~last;
    end
endmodule
