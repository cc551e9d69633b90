// problem: Prob910_onehot; expected: interface_error; upstream: S; trick: adds a port with a default of its own
module TopModule (
  input [0:0] go,
  input [3:0] state,
  output [3:0] next_state,
  input extra = 1
);
  assign next_state = 0;

endmodule
