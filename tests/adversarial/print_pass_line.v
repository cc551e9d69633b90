// problem: counter; expected: forbidden_construct; trick: prints the pass line of the benchmark
module TopModule (
  input clk,
  input rst,
  input en,
  output reg [3:0] q
);
  initial $display("Mismatches: 0 in 100 samples");
endmodule
