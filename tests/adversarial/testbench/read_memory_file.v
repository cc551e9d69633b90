// problem: Prob909_parity; expected: forbidden_construct; upstream: R; trick: reads a file of the run
module TopModule (
  input [7:0] in,
  output [0:0] parity
);
  assign parity = 0;
  reg [7:0] m [0:1];
  initial $readmemh("test.sv", m);
endmodule
