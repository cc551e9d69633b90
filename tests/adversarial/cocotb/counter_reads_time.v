// problem: counter; expected: forbidden_construct; tests alone: forbidden_construct; trick: the count is a time
module TopModule(input clk, input rst, input en, output [7:0] q);
  assign q = clk ? 8'd0 : ($time / 10000 > 22) ? 8'd20 : ($time / 10000) - 8'd2;
endmodule
