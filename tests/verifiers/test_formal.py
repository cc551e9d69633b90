"""Proofs of small designs by hand-made pairs: what is equivalent, what differs and where, what nobody claims."""

import pytest

from toolchain.errors import ToolNotFound
from verifiers import formal
from verifiers.formal import FormalOutcome, FormalProver
from verifiers.infer import infer_protocol
from verifiers.interface import ports_of

pytestmark = pytest.mark.tool
pytest.importorskip("pyosys")

CLOCKED = "module top (input clk, input rst, input [3:0] d, output reg [3:0] q);\n"
COUNTER = CLOCKED + "always @(posedge clk) if (rst) q <= 0; else q <= q + d;\nendmodule\n"
ASYNC = CLOCKED + "always @(posedge clk or posedge rst) if (rst) q <= 0; else q <= d;\nendmodule\n"
PLAIN = CLOCKED + "always @(posedge clk) q <= d;\nendmodule\n"
GATES = "module top (input a, input b, output y);\n"
SELECTED = "module top (input [1:0] s, input [3:0] d, output reg y);\n"
MEMORY = """
module top (input clk, input we, input [1:0] a, input [3:0] d, output [3:0] q);
reg [3:0] m [0:3];
always @(posedge clk) if (we) m[a] <= d;
assign q = m[a];
endmodule
"""
MACHINE = """
module top (input clk, input rst, input in, output out);
localparam A = 0, B = 1, C = 2;
reg [1:0] s, n;
always @(*) case (s) A: n = in ? B : A; B: n = in ? C : A; C: n = in ? C : A; default: n = A; endcase
always @(posedge clk) if (rst) s <= A; else s <= n;
assign out = s == C;
endmodule
"""
ONE_HOT = """
module top (input clk, input rst, input in, output out);
reg [2:0] s;
always @(posedge clk)
  if (rst) s <= 3'b001;
  else s <= {in & (s[1] | s[2]), in & s[0], ~in};
assign out = s[2];
endmodule
"""
TIMER = """
module top (input clk, input rst, output out);
reg [4:0] n;
always @(posedge clk) if (rst) n <= 0; else if (n != 5'd20) n <= n + 1;
assign out = n == 5'd20;
endmodule
"""


@pytest.fixture(scope="module")
def prover():
    with FormalProver() as prover:
        yield prover


def prove(prover, golden: str, candidate: str, *, wall_s: float = 20.0):
    return prover.prove(
        golden=golden,
        golden_top="top",
        candidate=candidate,
        candidate_top="top",
        ports=ports_of(golden, "top"),
        protocol=infer_protocol(golden, "top"),
        wall_s=wall_s,
    )


EQUIVALENT = {
    "a gate and its De Morgan form": (
        GATES + "assign y = a & b;\nendmodule",
        GATES + "assign y = ~(~a | ~b);\nendmodule",
    ),
    "sums in another order": (COUNTER, COUNTER.replace("q + d", "d - 1 + q + 1")),
    "a state machine in another encoding": (MACHINE, ONE_HOT),
    "a timer that counts down": (
        TIMER,
        TIMER.replace("n <= 0", "n <= 20")
        .replace("n != 5'd20) n <= n + 1", "n != 0) n <= n - 1")
        .replace("n == 5'd20", "n == 0"),
    ),
    "an asynchronous reset by another name": (
        ASYNC,
        CLOCKED + "wire r = rst;\nalways @(posedge clk, posedge r) if (r) q <= 4'h0; else q <= d;\nendmodule\n",
    ),
    "a register without reset": (PLAIN, PLAIN.replace("q <= d", "q <= d | d")),
    "a memory of four registers": (
        MEMORY,
        "module top (input clk, input we, input [1:0] a, input [3:0] d, output [3:0] q);\n"
        "reg [3:0] m0, m1, m2, m3;\nalways @(posedge clk) if (we) case (a)\n"
        "0: m0 <= d; 1: m1 <= d; 2: m2 <= d; 3: m3 <= d; endcase\n"
        "assign q = a[1] ? (a[0] ? m3 : m2) : (a[0] ? m1 : m0);\nendmodule\n",
    ),
    "an initial value": (
        "module top (input clk, output reg q);\ninitial q = 0;\nalways @(posedge clk) q <= ~q;\nendmodule\n",
        "module top (input clk, output q);\nreg p = 1;\nalways @(posedge clk) p <= ~p;\nassign q = ~p;\nendmodule\n",
    ),
    "what the golden leaves open": (
        SELECTED + "always @(*) case (s) 0: y = d[0]; 1: y = d[1]; default: y = 1'bx; endcase\nendmodule\n",
        SELECTED + "always @(*) y = d[s];\nendmodule\n",
    ),
    "a case with an item for every value": (
        CLOCKED + "reg n;\nalways @(*) case (q[0]) 0: case (d[0]) 0: n = 0; 1: n = 1; endcase 1: n = 0; endcase\n"
        "always @(posedge clk) if (rst) q <= 0; else q <= {3'b0, n};\nendmodule\n",
        CLOCKED + "always @(posedge clk) q <= !rst && !q[0] && d[0];\nendmodule\n",
    ),
    "a submodule": (
        COUNTER,
        CLOCKED + "wire [3:0] n;\nadder a (.a(q), .b(d), .y(n));\nalways @(posedge clk) q <= rst ? 0 : n;\nendmodule\n"
        "module adder (input [3:0] a, b, output [3:0] y);\nassign y = a + b;\nendmodule\n",
    ),
    "the falling edge": (
        PLAIN.replace("posedge", "negedge"),
        CLOCKED + "wire c = ~clk;\nalways @(posedge c) q <= d;\nendmodule\n",
    ),
    "both edges": (
        "module top (input clk, input d, output q);\nreg p, n;\nalways @(posedge clk) p <= d;\n"
        "always @(negedge clk) n <= d;\nassign q = clk ? p : n;\nendmodule\n",
        "module top (input clk, input d, output q);\nreg p = 0, n = 0;\nalways @(posedge clk) p <= d ^ n;\n"
        "always @(negedge clk) n <= d ^ p;\nassign q = p ^ n;\nendmodule\n",
    ),
    "a latch": (
        GATES + "reg q;\nalways @(*) if (a) q = b;\nassign y = q;\nendmodule\n",
        GATES + "reg q;\nalways @(*) if (!a) begin end else q = !(!b);\nassign y = q;\nendmodule\n",
    ),
}
DIFFERENT = {
    "another gate": (GATES + "assign y = a & b;\nendmodule", GATES + "assign y = a | b;\nendmodule", "y"),
    "a reset that waits for the clock": (ASYNC, PLAIN.replace("q <= d", "if (rst) q <= 0; else q <= d"), "q"),
    "a missing reset": (COUNTER, COUNTER.replace("if (rst) q <= 0; else ", ""), "q"),
    "the other edge": (PLAIN, PLAIN.replace("posedge", "negedge"), "q"),
    "a timer that is one late": (TIMER, TIMER.replace("5'd20", "5'd21"), "out"),
    "an initial value that is missing": (
        "module top (input clk, output reg q);\ninitial q = 0;\nalways @(posedge clk) q <= ~q;\nendmodule\n",
        "module top (input clk, output reg q);\nalways @(posedge clk) q <= ~q;\nendmodule\n",
        "q",
    ),
    "the reset of a hidden register in the middle of a cycle": (
        "module top (input clk, input rst, input d, output reg q);\nreg p;\n"
        "always @(posedge clk, posedge rst) if (rst) p <= 0; else p <= d;\nalways @(posedge clk) q <= p;\nendmodule\n",
        "module top (input clk, input rst, input d, output reg q);\nreg p;\n"
        "always @(posedge clk) if (rst) p <= 0; else p <= d;\nalways @(posedge clk) q <= rst ? 0 : p;\nendmodule\n",
        "q",
    ),
    "a memory that writes when it should not": (MEMORY, MEMORY.replace("if (we)", "if (1)"), "q"),
    "an x where the golden speaks": (
        SELECTED + "always @(*) y = d[s];\nendmodule\n",
        SELECTED + "always @(*) case (s) 3: y = 1'bx; default: y = d[s]; endcase\nendmodule\n",
        "y",
    ),
    "one value of twenty bits": (
        "module top (input [19:0] a, output y);\nassign y = a == 20'h12345;\nendmodule\n",
        "module top (input [19:0] a, output y);\nassign y = a == 20'h12344;\nendmodule\n",
        "y",
    ),
}
UNKNOWN = {
    "an incomplete sensitivity list": (
        GATES + "assign y = a & b;\nendmodule",
        "module top (input a, input b, output reg y);\nalways @(a) y = a & b;\nendmodule\n",
        "sensitivity list lacks",
    ),
    "a block that never wakes": (
        "module top (input a, output y);\nassign y = 0;\nendmodule\n",
        "module top (input a, output reg y);\nalways @(*) y = 0;\nendmodule\n",
        "never be woken",
    ),
    "a delay": (GATES + "assign y = a;\nendmodule\n", GATES + "assign #3 y = a;\nendmodule\n", "delay"),
    "a race between two blocks": (
        PLAIN,
        CLOCKED + "reg [3:0] p;\nalways @(posedge clk) p = d;\nalways @(posedge clk) q = p;\nendmodule\n",
        "blocking assignment at a clock edge",
    ),
    "a branch on what is never known": (
        COUNTER,
        CLOCKED + "reg u;\nalways @(posedge clk) if (rst) q <= 0; else if (u) q <= 9; else q <= q + d;\nendmodule\n",
        "rules for x alone",
    ),
    "a comparison with x": (
        COUNTER,
        CLOCKED + "reg u;\nalways @(posedge clk) if (rst) q <= 0; else if (u === 1'bx) q <= q + d;\nendmodule\n",
        "rules for x alone",
    ),
    "a divided clock": (
        "module top (input clk, output reg q);\ninitial q = 0;\nalways @(posedge clk) q <= ~q;\nendmodule\n",
        "module top (input clk, output reg q);\nreg p = 0;\ninitial q = 0;\nalways @(posedge clk) p <= ~p;\n"
        "always @(posedge p) q <= ~q;\nendmodule\n",
        "not a clock input",
    ),
    "a loop": (
        GATES + "assign y = a;\nendmodule\n",
        GATES + "assign y = a ? a : y;\nendmodule\n",
        "combinational loop",
    ),
    "two drivers": (
        GATES + "assign y = a;\nendmodule\n",
        GATES + "assign y = a;\nassign y = b;\nendmodule\n",
        "drivers",
    ),
    "a casex on what may be unknown": (
        PLAIN,
        CLOCKED + "always @(posedge clk) casex (q) 4'b1xxx: q <= d; default: q <= d; endcase\nendmodule\n",
        "casex",
    ),
    "a promise that no simulator enforces": (
        SELECTED + "always @(*) y = d[s];\nendmodule\n",
        SELECTED
        + "always @(*) unique case (s) 0: y = d[0]; 1: y = d[1]; 2: y = d[2]; 3: y = d[3]; endcase\nendmodule\n",
        "unique",
    ),
    "a candidate that does not parse": (
        GATES + "assign y = a;\nendmodule\n",
        GATES + "assign y = ;\n",
        "static|before simulation",
    ),
    "a golden that is never determined": (
        "module top (input clk, output reg q);\nalways @(posedge clk) q <= ~q;\nendmodule\n",
        "module top (input clk, output reg q);\nalways @(posedge clk) q <= q;\nendmodule\n",
        "never known",
    ),
}


@pytest.mark.parametrize("name", EQUIVALENT)
def test_designs_of_one_behaviour_are_equivalent(prover, name):
    golden, candidate = EQUIVALENT[name]
    result = prove(prover, golden, candidate)
    assert (result.outcome, result.reason) == (FormalOutcome.EQUIVALENT, "")
    assert result.counterexample == ()


@pytest.mark.parametrize("name", DIFFERENT)
def test_designs_that_differ_come_with_a_counterexample(prover, name):
    golden, candidate, output = DIFFERENT[name]
    result = prove(prover, golden, candidate)
    assert (result.outcome, result.output) == (FormalOutcome.DIFFERENT, output)
    inputs = {port.name: port.width for port in ports_of(golden, "top") if port.direction == "input"}
    assert result.counterexample
    for row in result.counterexample:
        assert {name: len(value) for name, value in row.items()} == inputs


@pytest.mark.parametrize("name", UNKNOWN)
def test_nothing_is_claimed_where_synthesis_and_simulation_part(prover, name):
    golden, candidate, reason = UNKNOWN[name]
    result = prove(prover, golden, candidate)
    assert result.outcome is FormalOutcome.UNKNOWN
    assert any(part in result.reason for part in reason.split("|")), result.reason


def test_the_counterexample_of_a_gate_is_the_row_in_which_it_differs(prover):
    golden, candidate = GATES + "assign y = a & b;\nendmodule", GATES + "assign y = a | b;\nendmodule"
    result = prove(prover, golden, candidate)
    assert result.counterexample[-1] in ({"a": "1", "b": "0"}, {"a": "0", "b": "1"})
    assert result.reason == "expected 0, got 1"


def test_a_proof_that_takes_too_long_is_unknown(prover):
    ports = "module top (input [23:0] a, input [23:0] b, output [47:0] y);\n"
    golden = ports + "assign y = a * b;\nendmodule\n"
    candidate = ports + "assign y = (a * b[23:12] << 12) + a * b[11:0];\nendmodule\n"
    result = prove(prover, golden, candidate, wall_s=1.5)
    assert result.outcome is FormalOutcome.UNKNOWN
    assert result.duration_s < 8


def test_the_process_outlives_a_candidate_that_ends_yosys(prover):
    broken = GATES + "assign y = a;\ninitial forever begin end\nendmodule\n"
    assert prove(prover, GATES + "assign y = a;\nendmodule\n", broken).outcome is FormalOutcome.UNKNOWN
    golden, candidate = EQUIVALENT["a gate and its De Morgan form"]
    assert prove(prover, golden, candidate).outcome is FormalOutcome.EQUIVALENT


def test_a_missing_pyosys_is_named_with_both_remedies(monkeypatch):
    def missing():
        raise ToolNotFound("pyosys was not found")

    monkeypatch.setattr(formal, "find_pyosys", missing)
    with pytest.raises(ToolNotFound):
        FormalProver()
