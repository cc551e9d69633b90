// problem: Prob904_dff; expected: forbidden_construct; upstream: R; trick: disables a task of the stimulus
module TopModule (
  input [0:0] clk,
  input [0:0] d,
  output reg [0:0] q
);
  always @(posedge clk) q <= 0;
  initial disable tb.stim1.wavedrom_start;
endmodule
