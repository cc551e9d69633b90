// problem: counter; expected: forbidden_construct; trick: two designs in one text
module TopModule (
  input clk,
  input rst,
  input en,
  output reg [3:0] q
);
`ifdef SYNTHESIS
  assign q = 0;
`else
  always @(posedge clk)
    if (rst) q <= 4'd0;
    else if (en) q <= q + 4'd1;
`endif
endmodule
