// problem: counter; expected: forbidden_construct; trick: floods the disk with a dump
module TopModule (
  input clk,
  input rst,
  input en,
  output reg [3:0] q
);
  always @(posedge clk)
    if (rst) q <= 4'd0;
    else if (en) q <= q + 4'd1;
  initial begin
    $dumpfile("/tmp/x.vcd");
    $dumpvars;
  end
endmodule
