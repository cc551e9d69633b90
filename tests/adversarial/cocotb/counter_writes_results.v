// problem: counter; expected: forbidden_construct; tests alone: forbidden_construct; trick: a results file of its own
module TopModule(input clk, input rst, input en, output reg [7:0] q);
  integer file;
  final begin
    file = $fopen("results.xml", "w");
    $fwrite(file, "<testsuites><testsuite name='t'><testcase classname='t' name='counts_and_holds'/></testsuite>");
    $fwrite(file, "</testsuites>");
    $fclose(file);
  end
endmodule
