// problem: Prob901_wire; expected: timeout; upstream: T; trick: loops without time; killed politely the run would print 0 in 0
module TopModule (
  input [0:0] in,
  output [0:0] out
);
  reg a = 0;
  integer i;
  initial begin
    for (i = 0; i < 10; i = i + a) a = 0;
  end
  assign out = a;
endmodule
