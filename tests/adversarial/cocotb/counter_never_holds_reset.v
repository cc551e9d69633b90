// problem: counter; expected: mismatch; tests alone: passed; trick: a register's first value instead of a reset
module TopModule(input clk, input rst, input en, output reg [7:0] q);
  initial q = 8'd0;
  always @(posedge clk)
    if (en) q <= q + 8'd1;
endmodule
