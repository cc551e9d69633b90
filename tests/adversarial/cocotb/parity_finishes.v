// problem: parity; expected: forbidden_construct; tests alone: forbidden_construct; trick: ends before the first assert
module TopModule(input [7:0] d, output even, output odd);
  initial $finish;
endmodule
