// problem: shifter; expected: forbidden_construct; tests alone: forbidden_construct; trick: forces its data and its reset
module TopModule(input clk, input rst, input d, output reg [3:0] q);
  initial begin
    force d = 1'b0;
    force rst = 1'b1;
  end
  always @* q = 4'd0;
endmodule
