// problem: Prob911_dont_care; expected: forbidden_construct; upstream: n; trick: redefines a macro that the harness uses
`define OK 12); $display("Mismatches: 0 in 82 samples"); $display(
module TopModule (
  input [3:0] in,
  output reg [1:0] out
);
  always @(*) out = 0;

endmodule
