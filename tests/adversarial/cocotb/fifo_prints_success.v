// problem: fifo; expected: forbidden_construct; tests alone: forbidden_construct; trick: prints what cocotb prints
module TopModule(input clk, input rst, input push, input pop, input [7:0] din, output [7:0] dout, output empty, full);
  initial $display("** TESTS=1 PASS=1 FAIL=0 SKIP=0 **");
endmodule
