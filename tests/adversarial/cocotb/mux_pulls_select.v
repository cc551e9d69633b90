// problem: mux; expected: forbidden_construct; tests alone: forbidden_construct; trick: holds the select that it likes
module TopModule(input [1:0] sel, input [7:0] d0, d1, d2, d3, output [7:0] y);
  assign (supply1, supply0) sel = 2'd0;
  assign y = d0;
endmodule
