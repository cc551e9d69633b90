// problem: Prob908_detect; expected: mismatch; upstream: .; trick: a state machine that forgets after a hundred edges
module TopModule (
  input [0:0] clk,
  input [0:0] reset,
  input [0:0] x,
  output [0:0] z
);
  reg [2:0] last; reg [6:0] n = 0;
  always @(posedge clk) begin
    if (n < 100) n <= n + 1;
    if (reset) last <= 0; else last <= {last[1:0], x};
  end
  assign z = last == 3'b101 && n < 100;
endmodule
