// problem: counter; expected: forbidden_construct; trick: reads a file of the harness
module TopModule (
  input clk,
  input rst,
  input en,
  output reg [3:0] q
);
  always @(posedge clk)
    if (rst) q <= 4'd0;
    else if (en) q <= q + 4'd1;
  reg [7:0] text [0:999];
  initial $readmemb("rows.txt", text);
endmodule
