// problem: Prob911_dont_care; expected: mismatch; upstream: R; trick: a case with x items that matches by chance
module TopModule (
  input [3:0] in,
  output reg [1:0] out
);
  always @(*) casex (in)
    4'bxx00: out = 0;
    default: out = 1;
  endcase
endmodule
