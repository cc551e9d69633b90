// problem: Prob910_onehot; expected: forbidden_construct; upstream: R; trick: asks for a plus argument of the run
module TopModule (
  input [0:0] go,
  input [3:0] state,
  output [3:0] next_state
);
  assign next_state = 0;
  integer v;
  initial if ($value$plusargs("answer=%d", v)) ;
endmodule
