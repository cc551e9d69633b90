// problem: counter; expected: forbidden_construct; tests alone: forbidden_construct; trick: drives the clock itself
module TopModule(input clk, input rst, input en, output reg [7:0] q);
  pulldown (clk);
  always @(posedge clk) q <= q + 8'd1;
endmodule
