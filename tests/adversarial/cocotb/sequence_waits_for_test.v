// problem: sequence; expected: forbidden_construct; tests alone: forbidden_construct; trick: reads an argument of the run
module TopModule(input clk, input rst, input x, output z);
  reg is_tested;
  initial is_tested = $test$plusargs("cocotb");
  assign z = is_tested & x;
endmodule
