// problem: fifo; expected: mismatch; tests alone: passed; trick: the test never fills it
module TopModule(input clk, input rst, input push, input pop, input [7:0] din, output [7:0] dout, output empty, full);
  reg [7:0] first, second;
  reg [1:0] count;
  assign empty = count == 0;
  assign full = 1'b0;
  assign dout = first;
  always @(posedge clk)
    if (rst) count <= 0;
    else if (push) begin
      if (empty) first <= din;
      else second <= din;
      count <= count + 1;
    end else if (pop) begin
      first <= second;
      count <= count - 1;
    end
endmodule
