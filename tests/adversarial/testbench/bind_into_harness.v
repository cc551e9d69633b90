// problem: Prob907_shift; expected: forbidden_construct; upstream: S; trick: binds a printer into the testbench
module TopModule (
  input [0:0] clk,
  input [0:0] reset,
  input [0:0] in,
  output reg [7:0] q
);
  always @(posedge clk) q <= 0;

endmodule
module Evil;
  final $display("Mismatches: 0 in 83 samples");
endmodule
bind tb Evil evil();
