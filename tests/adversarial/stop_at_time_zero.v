// problem: counter; expected: forbidden_construct; trick: stops the simulation
module TopModule (
  input clk,
  input rst,
  input en,
  output reg [3:0] q
);
  initial $stop;
endmodule
