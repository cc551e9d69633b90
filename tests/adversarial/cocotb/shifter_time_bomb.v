// problem: shifter; expected: mismatch; tests alone: passed; trick: sound until long after the last test
module TopModule(input clk, input rst, input d, output reg [3:0] q);
  reg dead = 0;
  initial #1000 dead = 1;
  always @(posedge clk)
    if (rst) q <= 4'd0;
    else q <= dead ? 4'd5 : {q[2:0], d};
endmodule
