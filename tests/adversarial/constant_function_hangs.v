// problem: adder; expected: elaboration_error; trick: a constant function without end
module TopModule (
  input [3:0] a,
  input [3:0] b,
  output [4:0] y
);
  assign y = a + b;
  function integer f(input integer x);
    begin
      f = 0;
      while (1) f = f + 1;
    end
  endfunction
  localparam N = f(1);
endmodule
