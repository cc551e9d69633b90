// problem: adder; expected: forbidden_construct; tests alone: forbidden_construct; trick: draws until it is right
module TopModule(input [3:0] a, input [3:0] b, output reg [4:0] y);
  always @* begin
    y = $random;
    while (y != a + b) y = $urandom;
  end
endmodule
