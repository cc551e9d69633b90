// problem: Prob910_onehot; expected: forbidden_construct; upstream: C; trick: own testbench; an `ifdef without an end swallows the real one
module TopModule (
  input [0:0] go,
  input [3:0] state,
  output [3:0] next_state
);
  assign next_state = 0;

endmodule
module tb;
  initial $display("Mismatches: 0 in 82 samples");
endmodule
`ifdef NEVER
