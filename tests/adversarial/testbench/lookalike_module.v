// problem: Prob906_areset; expected: forbidden_construct; upstream: S; trick: a module whose name has a Cyrillic letter beside the real one
module TopModule (
  input [0:0] clk,
  input [0:0] areset,
  input [0:0] ena,
  output reg [7:0] q
);
  always @(posedge clk) q <= 0;

endmodule
module RеfModule (input a, output b);
  assign b = a;
endmodule
