// problem: counter; expected: forbidden_construct; trick: copies the golden through a hierarchical name
module TopModule (
  input clk,
  input rst,
  input en,
  output reg [3:0] q
);
  always @* q = tb.good1.q;
endmodule
