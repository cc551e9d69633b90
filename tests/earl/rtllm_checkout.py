"""A small checkout in RTLLM's layouts, of our own making: designs with each of the benchmark's habits, for tests."""

from dataclasses import dataclass, field
from pathlib import Path

_BANNER = '$display("===========Your Design Passed===========");'
_FAILURE = '$display("===========Test completed with %d /100 failures===========", error);'


@dataclass(frozen=True, kw_only=True)
class RtllmDesign:
    """`module` is what the testbench instantiates, `asked` what the description calls it ("": the same)."""

    name: str
    folder: str  # in v2
    module: str
    golden_top: str
    ports: str
    body: str
    testbench: str
    asked: str = ""
    files: dict[str, str] = field(default_factory=dict)

    def source(self, module: str = "") -> str:
        """The golden under a name, the module under test's by default."""
        return f"module {module or self.module} (\n  {self.ports}\n);\n{self.body}\nendmodule\n"

    def write(self, folder: Path) -> None:
        """The design's files in `folder`."""
        folder.mkdir(parents=True)
        asked = f"Module name:\n    {self.asked or self.module}\nInput and output ports:\n    {self.ports}\n"
        folder.joinpath("design_description.txt").write_text(f"Please write this design.\n\n{asked}")
        folder.joinpath("testbench.v").write_text(self.testbench)
        folder.joinpath(f"verified_{self.name}.v").write_text(self.source(self.golden_top))
        folder.joinpath("makefile").write_text(f"TEST_DESIGN = {self.name}\n")
        for name, text in self.files.items():
            folder.joinpath(name).write_text(text)


def _verdict(end: str = "$finish;") -> str:
    return f"if (error == 0) begin {_BANNER} end\n    else begin {_FAILURE} end\n    {end}"


DESIGNS = (
    RtllmDesign(  # a testbench without $finish that ends of itself
        name="adder_4bit",
        folder="Arithmetic/Adder",
        module="adder_4bit",
        golden_top="verified_adder_4bit",
        ports="input [3:0] a, input [3:0] b, output [4:0] sum",
        body="  assign sum = a + b;",
        testbench=f"""`timescale 1ns / 1ps
module testbench;
  reg [3:0] a, b;
  wire [4:0] sum;
  integer i, error = 0;
  adder_4bit uut (.a(a), .b(b), .sum(sum));
  initial begin
    for (i = 0; i < 50; i = i + 1) begin
      a = $random; b = $random; #10;
      error = (sum !== a + b) ? error + 1 : error;
    end
    {_verdict("")}
  end
endmodule""",
    ),
    RtllmDesign(  # one without $finish that has a clock
        name="counter_6",
        folder="Control/Counter",
        module="counter_6",
        golden_top="counter_6",
        ports="input clk, input rst_n, output reg [2:0] out",
        body="  always @(posedge clk or negedge rst_n)\n"
        "    if (!rst_n) out <= 0;\n    else out <= out == 5 ? 0 : out + 1;",
        testbench=f"""module counter_6_tb;
  reg clk = 0, rst_n = 0;
  wire [2:0] out;
  integer i, error = 0;
  counter_6 dut (.clk(clk), .rst_n(rst_n), .out(out));
  always #5 clk = ~clk;
  initial begin
    #22 rst_n = 1;
    for (i = 0; i < 20; i = i + 1) begin
      error = (out === i % 6) ? error : error + 1; #10;
    end
    {_verdict("")}
  end
endmodule
""",
    ),
    RtllmDesign(  # data beside the testbench; the module's name is not the folder's, nor the description's
        name="squares_rom",
        folder="Memory/Read only memory",
        module="square_rom",
        golden_top="verified_squares",
        ports="input [2:0] addr, output reg [5:0] data",
        body="  always @(*) data = addr * addr;",
        asked="squares_table",
        files={"reference.dat": "".join(f"{i * i:02x}\n" for i in range(8))},
        testbench=f"""`timescale 1ns/1ns
module main();
  reg [2:0] addr; wire [5:0] data;
  reg [5:0] expected [0:7];
  integer i, error = 0;
  square_rom dut(addr, data);
  initial begin
    $readmemh("reference.dat", expected);
    for (i = 0; i < 8; i = i + 1) begin
      addr = i; #5;
      error = (data == expected[i]) ? error : error + 1;
    end
    {_verdict()}
  end
endmodule
""",
    ),
    RtllmDesign(  # the testbench reads a name inside of the design
        name="toggle",
        folder="Control/Finite State Machine",
        module="toggle",
        golden_top="verified_toggle",
        ports="input CLK, input RST, output Q",
        body="  reg state;\n  always @(posedge CLK) state <= RST ? 0 : ~state;\n  assign Q = state;",
        testbench=f"""`timescale 1ns/1ns
module main();
  reg clk = 0, rst = 1; wire q;
  integer error = 0;
  toggle DUT(.CLK(clk), .RST(rst), .Q(q));
  always #5 clk = ~clk;
  initial begin
    #12 rst = 0;
    repeat (10) begin
      error = (q === DUT.state) ? error : error + 1; #10;
    end
    {_verdict()}
  end
endmodule
""",
    ),
    RtllmDesign(  # an empty module passes
        name="larger",
        folder="Arithmetic/Comparator",
        module="larger",
        golden_top="larger",
        ports="input [2:0] a, input [2:0] b, output y",
        body="  assign y = a > b;",
        testbench=f"""`timescale 1ns / 1ps
module testbench;
  reg [2:0] a, b; wire y;
  integer i, error = 0;
  larger uut (.a(a), .b(b), .y(y));
  initial begin
    for (i = 0; i < 40; i = i + 1) begin
      a = $random; b = $random; #10;
      if (a > b && !y) error = error + 1;
    end
    {_verdict()}
  end
endmodule
""",
    ),
    RtllmDesign(  # the golden fails
        name="inverse",
        folder="Miscellaneous/Others",
        module="inverse",
        golden_top="verified_inverse",
        ports="input a, output y",
        body="  assign y = ~a;",
        testbench=f"""module testbench;
  reg a; wire y;
  integer error = 0;
  inverse uut (.a(a), .y(y));
  initial begin
    a = 1; #10;
    error = (y === 1) ? error : error + 1;
    {_verdict()}
  end
endmodule
""",
    ),
    RtllmDesign(  # a divider by an input, which shows only while that stays; most of its outputs are never driven
        name="wave",
        folder="Miscellaneous/Signal generation",
        module="wave",
        golden_top="wave",
        ports="input clk, input [7:0] period, output reg wave, output spare",
        body="  reg [7:0] count = 0;\n  initial wave = 0;\n  always @(posedge clk)\n"
        "    if (count == period - 1) begin count <= 0; wave <= ~wave; end else count <= count + 1;",
        testbench=f"""module wave_tb;
  reg clk = 0; reg [7:0] period = 4; wire out;
  integer num_ones = 0, error = 0;
  wave dut (.clk(clk), .period(period), .wave(out));
  always #5 clk = ~clk;
  initial begin
    repeat (100) begin
      num_ones = out ? num_ones + 1 : 0;
      if (num_ones > 8) begin $display("Error: too many ones"); error = 1; $finish; end
      #5;
    end
    {_verdict()}
  end
endmodule
""",
    ),
)


def design_of(name: str) -> RtllmDesign:
    """The design of that name."""
    return next(design for design in DESIGNS if design.name == name)


def write_v2(root: Path) -> Path:
    """The designs in v2's nested folders under `root`, which is returned."""
    for design in DESIGNS:
        design.write(root / design.folder / design.name)
    root.joinpath("File_list.md").write_text("not a design\n")
    return root


def write_v1_1(root: Path) -> Path:
    """The designs in v1.1's flat folders under `root`, which is returned."""
    for design in DESIGNS:
        design.write(root / design.name)
    return root
