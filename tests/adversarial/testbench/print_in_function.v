// problem: Prob908_detect; expected: forbidden_construct; upstream: .; trick: prints from a function that a continuous assignment calls
module TopModule (
  input [0:0] clk,
  input [0:0] reset,
  input [0:0] x,
  output [0:0] z
);
  function hit(input bit v);
    $display("Mismatches: 0 in 83 samples");
    hit = v;
  endfunction
  assign z = hit(x) & 0;
endmodule
