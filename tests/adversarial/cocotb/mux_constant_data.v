// problem: mux; expected: mismatch; tests alone: passed; trick: the answers of the test as a table, the data unread
module TopModule(input [1:0] sel, input [7:0] d0, d1, d2, d3, output [7:0] y);
  assign y = 8'h11 * (sel + 8'd1);
endmodule
