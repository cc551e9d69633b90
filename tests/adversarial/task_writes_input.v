// problem: counter; expected: forbidden_construct; trick: a task writes the clock
module TopModule (
  input var logic clk,
  input rst,
  input en,
  output reg [3:0] q
);
  always @(posedge clk)
    if (rst) q <= 4'd0;
    else if (en) q <= q + 4'd1;
  task set(output o);
    o = 1'b1;
  endtask
  always @(posedge en) set(clk);
endmodule
