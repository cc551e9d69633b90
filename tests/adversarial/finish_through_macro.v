// problem: counter; expected: forbidden_construct; trick: hides the system task in a macro
`define STOP $finish
module TopModule (
  input clk,
  input rst,
  input en,
  output reg [3:0] q
);
  initial `STOP;
endmodule
