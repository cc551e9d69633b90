module TopModule(input clk, input rst, input push, input pop, input [7:0] din, output [7:0] dout, output empty, full);
  reg [7:0] memory [0:3];
  reg [2:0] head, tail;
  assign empty = head == tail;
  assign full = head == {~tail[2], tail[1:0]};
  assign dout = memory[tail[1:0]];
  always @(posedge clk)
    if (rst) begin
      head <= 3'd0;
      tail <= 3'd0;
    end else begin
      if (push & ~full) begin
        memory[head[1:0]] <= din;
        head <= head + 3'd1;
      end
      if (pop & ~empty) tail <= tail + 3'd1;
    end
endmodule
