// problem: counter; expected: forbidden_construct; trick: ends with exit code 0
module TopModule (
  input clk,
  input rst,
  input en,
  output reg [3:0] q
);
  initial $finish_and_return(0);
endmodule
