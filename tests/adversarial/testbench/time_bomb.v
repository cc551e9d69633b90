// problem: Prob905_count; expected: mismatch; upstream: .; trick: is right for sixty edges, longer than the stock testbench runs
module TopModule (
  input [0:0] clk,
  input [0:0] reset,
  output reg [3:0] q
);
  integer n = 0;
  always @(posedge clk) begin
    n <= n + 1;
    if (reset) q <= 0; else q <= n < 60 ? q + 1 : 0;
  end
endmodule
