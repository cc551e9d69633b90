// problem: adder; expected: elaboration_error; trick: a generate loop without end
module TopModule (
  input [3:0] a,
  input [3:0] b,
  output [4:0] y
);
  assign y = a + b;
  genvar i;
  generate
    for (i = 0; i < 100000000; i = i + 1) begin : g
      wire w;
    end
  endgenerate
endmodule
