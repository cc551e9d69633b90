// problem: Prob910_onehot; expected: forbidden_construct; upstream: .; trick: forces the wire that says whether outputs match
module TopModule (
  input [0:0] go,
  input [3:0] state,
  output [3:0] next_state
);
  assign next_state = 0;
  initial force tb.tb_match = 1;
endmodule
