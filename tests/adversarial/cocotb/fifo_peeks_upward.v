// problem: fifo; expected: forbidden_construct; tests alone: forbidden_construct; trick: a name that leads to the root
module TopModule(input clk, input rst, input push, input pop, input [7:0] din, output [7:0] dout, output empty, full);
  assign dout = $root.TopModule.din;
  assign empty = 1'b0;
  assign full = 1'b0;
endmodule
