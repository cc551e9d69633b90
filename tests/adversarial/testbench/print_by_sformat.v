// problem: Prob907_shift; expected: forbidden_construct; upstream: .; trick: builds the result line as a string at run time
module TopModule (
  input [0:0] clk,
  input [0:0] reset,
  input [0:0] in,
  output reg [7:0] q
);
  always @(posedge clk) q <= 0;
  string line;
  initial begin
    line = $sformatf("%s: %0d in %0d samples", "Mismatches", 0, 83);
    $display("%s", line);
  end
endmodule
