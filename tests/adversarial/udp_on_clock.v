// problem: counter; expected: forbidden_construct; trick: a user-defined primitive drives the clock
module TopModule (
  input clk,
  input rst,
  input en,
  output reg [3:0] q
);
  always @(posedge clk)
    if (rst) q <= 4'd0;
    else if (en) q <= q + 4'd1;
  inv u (clk, rst);
endmodule
primitive inv (output o, input i);
  table
    0 : 1;
    1 : 0;
  endtable
endprimitive
