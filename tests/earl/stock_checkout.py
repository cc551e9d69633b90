"""A small checkout in VerilogEval v2's layout, of our own making: eleven problems in both tasks, for tests."""

from dataclasses import dataclass
from pathlib import Path

_HARNESS = """`timescale 1 ps/1 ps
`define OK 12
`define INCORRECT 13

module stimulus_gen (
  input clk,
  input tb_match,
{stimulus_ports}
  output reg wavedrom_enable
);
  task wavedrom_start(input integer which = 0);
    wavedrom_enable = which == `OK;
  endtask

  initial begin
    wavedrom_start();
{stimulus}
    #1 $finish;
  end
endmodule

module tb();
  typedef struct packed {{
    int errors;
    int errortime;
    int clocks;
  }} stats;
  stats stats1;

  wire wavedrom_enable;
  reg clk = 0;
  initial forever #5 clk = ~clk;

{declarations}

  initial begin
    $dumpfile("wave.vcd");
    $dumpvars(1, stim1.clk, tb_mismatch);
  end

  wire tb_match;
  wire tb_mismatch = ~tb_match;

  stimulus_gen stim1 (.clk, .*{stimulus_names});
  RefModule good1 ({golden_names});
  TopModule top_module1 ({candidate_names});

  final begin
    if (stats1.errors) $display("Hint: the first mismatch is at time %0d.", stats1.errortime);
    $display("Simulation finished at %0d ps", $time);
    $display("Mismatches: %1d in %1d samples", stats1.errors, stats1.clocks);
  end

  assign tb_match = ({{ {golden} }} === ({{ {golden} }} ^ {{ {candidate} }} ^ {{ {golden} }}));
  always @(posedge clk, negedge clk) begin
    stats1.clocks++;
    if (!tb_match) begin
      if (stats1.errors == 0) stats1.errortime = $time;
      stats1.errors++;
    end
  end

  initial begin
    #1000000
    $display("TIMEOUT");
    $finish();
  end
endmodule
"""


@dataclass(frozen=True, kw_only=True)
class StockProblem:
    """`ports` are (direction, width, name); the body is what stands between the golden's header and endmodule."""

    name: str
    asks: str
    ports: tuple[tuple[str, int, str], ...]
    body: str
    stimulus: str

    def header(self, module: str) -> str:
        """The module header, up to its semicolon."""
        ports = ",\n".join(f"  {way} [{width - 1}:0] {name}" for way, width, name in self.ports)
        return f"module {module} (\n{ports}\n);\n"

    def source(self, module: str) -> str:
        """The golden under a name."""
        return f"\n{self.header(module)}{self.body}\nendmodule\n"

    def harness(self) -> str:
        """The testbench."""
        inputs = [(width, name) for way, width, name in self.ports if way == "input" and name != "clk"]
        outputs = [(width, name) for way, width, name in self.ports if way != "input"]
        has_clock = any(name == "clk" for _, _, name in self.ports)
        shared = [f".{name}" for _, name in inputs] + [".clk"] * has_clock
        both = [f"logic [{width - 1}:0] {name}_ref, {name}_dut;" for width, name in outputs]
        return _HARNESS.format(
            stimulus_ports="\n".join(f"  output logic [{width - 1}:0] {name}," for width, name in inputs),
            stimulus="\n".join("    " + line for line in self.stimulus.strip().split("\n")),
            declarations="\n".join(f"  {line}" for line in [f"logic [{w - 1}:0] {n};" for w, n in inputs] + both),
            stimulus_names="".join(f", .{name}" for _, name in inputs),
            golden_names=", ".join(shared + [f".{name}({name}_ref)" for _, name in outputs]),
            candidate_names=", ".join(shared + [f".{name}({name}_dut)" for _, name in outputs]),
            golden=", ".join(f"{name}_ref" for _, name in outputs),
            candidate=", ".join(f"{name}_dut" for _, name in outputs),
        )


_CLK, _RESET = ("input", 1, "clk"), ("input", 1, "reset")
_DRIVE = "repeat(40) @(posedge clk, negedge clk) "

PROBLEMS = (
    StockProblem(
        name="Prob901_wire",
        asks="The module should assign the input in to the output out.",
        ports=(("input", 1, "in"), ("output", 1, "out")),
        body="  assign out = in;",
        stimulus=f"{_DRIVE}in <= $random;",
    ),
    StockProblem(
        name="Prob902_adder",
        asks="The module should add a and b.",
        ports=(("input", 4, "a"), ("input", 4, "b"), ("output", 5, "sum")),
        body="  assign sum = a + b;",
        stimulus=f"{_DRIVE}begin\n  a <= $random & 7;\n  b <= $random;\nend",
    ),
    StockProblem(
        name="Prob903_mux",
        asks="The module should choose one bit of in by sel.",
        ports=(("input", 4, "in"), ("input", 2, "sel"), ("output", 1, "out")),
        body="  assign out = in[sel];",
        stimulus=f"{_DRIVE}{{in, sel}} <= $random;",
    ),
    StockProblem(
        name="Prob904_dff",
        asks="The module should implement a D flip-flop.",
        ports=(_CLK, ("input", 1, "d"), ("output reg", 1, "q")),
        body="  initial q = 1'hx;\n  always @(posedge clk) q <= d;",
        stimulus=f"{_DRIVE}d <= $random;",
    ),
    StockProblem(
        name="Prob905_count",
        asks="The module should count up from 0 to 15 and over, with a synchronous reset.",
        ports=(_CLK, _RESET, ("output reg", 4, "q")),
        body="  always @(posedge clk) if (reset) q <= 0; else q <= q + 1;",
        stimulus=f"reset <= 1;\nrepeat(2) @(posedge clk);\n{_DRIVE}reset <= !($random & 15);",
    ),
    StockProblem(
        name="Prob906_areset",
        asks="The module should count up when ena is high, with an asynchronous reset.",
        ports=(_CLK, ("input", 1, "areset"), ("input", 1, "ena"), ("output reg", 8, "q")),
        body="  always @(posedge clk, posedge areset) if (areset) q <= 0; else if (ena) q <= q + 1;",
        stimulus=f"areset <= 1;\nena <= 0;\n@(posedge clk);\n{_DRIVE}begin\n"
        "  areset <= !($random & 15);\n  ena <= $random;\nend",
    ),
    StockProblem(
        name="Prob907_shift",
        asks="The module should shift in from the right, with a synchronous reset.",
        ports=(_CLK, _RESET, ("input", 1, "in"), ("output reg", 8, "q")),
        body="  always @(posedge clk) if (reset) q <= 0; else q <= {q[6:0], in};",
        stimulus=f"reset <= 1;\n@(posedge clk);\n@(negedge clk) reset <= 0;\n{_DRIVE}in <= $random;",
    ),
    StockProblem(
        name="Prob908_detect",
        asks="The module should raise z when the last three inputs were 1, 0, 1; reset is synchronous.",
        ports=(_CLK, _RESET, ("input", 1, "x"), ("output", 1, "z")),
        body="  reg [2:0] last;\n  always @(posedge clk) if (reset) last <= 0; else last <= {last[1:0], x};\n"
        "  assign z = last == 3'b101;",
        stimulus=f"reset <= 1;\n@(posedge clk);\n@(negedge clk) reset <= 0;\n{_DRIVE}x <= $random;",
    ),
    StockProblem(
        name="Prob909_parity",
        asks="The module should give the even parity of in.",
        ports=(("input", 8, "in"), ("output", 1, "parity")),
        body="  parameter ODD = 0;\n  assign parity = ^in ^ ODD;",
        stimulus=f"{_DRIVE}in <= $random;",
    ),
    StockProblem(
        name="Prob910_onehot",
        asks="The module should give the next state of a ring of four one-hot states; go moves it on.",
        ports=(("input", 1, "go"), ("input", 4, "state"), ("output", 4, "next_state")),
        body="  assign next_state = go ? {state[2:0], state[3]} : state;",
        stimulus=f"{_DRIVE}begin\n  state <= 1 << ($unsigned($random) % 4);\n  go <= $random;\nend",
    ),
    StockProblem(
        name="Prob911_dont_care",
        asks="The module should give the remainder of in by 3 for in below 12; other values never occur.",
        ports=(("input", 4, "in"), ("output reg", 2, "out")),
        body="  always @(*) out = in < 12 ? in % 3 : 2'bxx;",
        stimulus=f"{_DRIVE}in <= $random;",
    ),
)


def write_checkout(root: Path) -> Path:
    """Both tasks under `root`, which is returned."""
    spec, complete = root / "dataset_spec-to-rtl", root / "dataset_code-complete-iccad2023"
    for folder in (spec, complete):
        folder.mkdir(parents=True)
        for problem in PROBLEMS:
            folder.joinpath(f"{problem.name}_ref.sv").write_text(problem.source("RefModule"))
            folder.joinpath(f"{problem.name}_test.sv").write_text(problem.harness())
    for problem in PROBLEMS:
        spec.joinpath(f"{problem.name}_prompt.txt").write_text(f"\nImplement TopModule.\n\n{problem.asks}\n")
        header = problem.header("TopModule")
        complete.joinpath(f"{problem.name}_prompt.txt").write_text(f"\n{problem.asks}\n\n{header}\n")
        complete.joinpath(f"{problem.name}_ifc.txt").write_text(f"\n{header}\n")
    spec.joinpath("Prob901_stray.sv").write_text("not a problem\n")
    return root
