// problem: counter; expected: forbidden_construct; trick: a strong gate
module TopModule (
  input clk,
  input rst,
  input en,
  output reg [3:0] q
);
  buf (supply1, supply0) g (q[0], rst);
endmodule
