module TopModule(input [7:0] d, output even, output odd);
  assign odd = ^d;
  assign even = ~^d;
endmodule
