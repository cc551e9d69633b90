// problem: gray; expected: interface_error; tests alone: interface_error; trick: an input that nobody drives
module TopModule(input clk, input rst, input free, output [3:0] g);
  assign g = {3'b000, free};
endmodule
