"""What `verify_throughput.py` judges: groups of candidates for procedural problems, and for a VerilogEval-like set.

The set is made here, in the layout and manner of VerilogEval v2: a testbench with a stimulus generator, the golden
beside the candidate, a waveform dump, counters and one result line. Nothing of that benchmark is copied.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from hdl_bench.procedural.problems import make_problems
from hdl_bench.verilog_eval import load_spec_to_rtl
from verifiers.golden import harness_of
from verifiers.lexer import rename_identifier
from verifiers.mutate import mutants_of
from verifiers.reference import as_reference
from verifiers.types import PassRule, Port, Problem, Protocol, TestbenchOracle

GROUP_SIZE = 8
_NUM_RIGHT = 3  # of a group: the golden under three comments; the others are mutants


@dataclass(frozen=True, kw_only=True, slots=True)
class Group:
    """A problem and distinct candidates for it."""

    problem: Problem
    texts: tuple[str, ...]


def reference_groups(num_groups: int) -> list[Group]:
    """Groups of procedural problems with a ReferenceOracle, over all families and levels."""
    return list(itertools.islice(_groups(_procedural(3 * num_groups)), num_groups))


def stock_groups(num_groups: int, root: Path | None) -> list[Group]:
    """Groups of problems with a stock testbench: of a checkout of VerilogEval v2, or of our own making."""
    if root is not None:
        return list(itertools.islice(_groups(load_spec_to_rtl(root).problems.values()), num_groups))
    # Upstream compiles golden and candidate together: helper modules of one name in both would end its run.
    flat = (p for p in _procedural(3 * num_groups) if p.oracle.golden.count("endmodule") == 1)
    return list(itertools.islice(_groups(_with_testbench(p) for p in flat), num_groups))


def with_duplicates(group: Group, num_duplicates: int) -> tuple[str, ...]:
    """As many candidates, the last of them copies of the first."""
    return group.texts[: GROUP_SIZE - num_duplicates] + group.texts[:num_duplicates]


def _procedural(num_problems: int) -> list[Problem]:
    return make_problems(families=None, levels=(1, 2, 3, 4, 5), split="train", num_problems=num_problems, seed=7)


def _groups(problems: Iterable[Problem]) -> Iterator[Group]:
    """The problems that have enough mutants, with their groups."""
    for problem in problems:
        reference = as_reference(problem)
        ports = harness_of(reference).ports
        golden = rename_identifier(reference.oracle.golden, reference.oracle.golden_top, problem.top_module)
        num_mutants = GROUP_SIZE - _NUM_RIGHT
        mutants = mutants_of(golden, problem.top_module, ports, seed=1, limit=num_mutants)
        if len(mutants) == num_mutants:
            right = tuple(f"{golden}\n// answer {number}\n" for number in range(_NUM_RIGHT))
            yield Group(problem=problem, texts=(*right, *(mutant.text for mutant in mutants)))


def _with_testbench(problem: Problem) -> Problem:
    """The problem judged by a testbench in VerilogEval's manner."""
    harness = harness_of(problem)
    golden = rename_identifier(problem.oracle.golden, problem.oracle.golden_top, "RefModule")
    top = "TopModule"
    oracle = TestbenchOracle(
        testbench=_testbench(harness.ports, harness.protocol, top),
        rule=PassRule.MISMATCH_COUNT,
        top="tb",
        golden=golden,
        golden_top="RefModule",
        protocol=harness.protocol,
    )
    return replace(problem, top_module=top, ports=harness.ports, oracle=oracle)


def _testbench(ports: tuple[Port, ...], protocol: Protocol, top: str) -> str:
    clock = protocol.clocks[0].name if protocol.clocks else "clk"
    inputs = [port for port in ports if port.direction == "input" and port.name != clock]
    outputs = [port for port in ports if port.direction == "output"]
    has_clock = any(port.name == clock for port in ports)
    own_clock = f".{clock}({clock}), " if has_clock else ""
    fed = ", ".join(f".{port.name}({port.name})" for port in inputs)
    asserted, drawn = _stimulus(inputs, protocol)
    counted, hints = _statistics(outputs)
    joined = {side: ", ".join(f"{port.name}_{side}" for port in outputs) for side in ("ref", "dut")}
    fields = "".join(f" int errors_{p.name}; int errortime_{p.name};" for p in outputs)
    return f"""`timescale 1 ps/1 ps
`define OK 12
`define INCORRECT 13
module stimulus_gen (input {clock}{"".join(f", output reg [{p.width - 1}:0] {p.name}" for p in inputs)});
  initial begin
    {asserted}
    repeat (4) @(posedge {clock});
    repeat (200) @(posedge {clock}, negedge {clock}) begin {drawn} end
    #1 $finish;
  end
endmodule
module tb;
  typedef struct packed {{ int errors; int errortime; int clocks;{fields} }} stats;
  stats stats1;
  reg {clock} = 0;
  initial forever #5 {clock} = ~{clock};
  {" ".join(f"logic [{p.width - 1}:0] {p.name};" for p in inputs)}
  {" ".join(f"logic [{p.width - 1}:0] {p.name}_ref, {p.name}_dut;" for p in outputs)}
  wire tb_match;
  wire tb_mismatch = ~tb_match;
  initial begin
    $dumpfile("wave.vcd");
    $dumpvars(1, {clock}, tb_mismatch{"".join(f", {p.name}" for p in inputs)}, {joined["ref"]}, {joined["dut"]});
  end
  stimulus_gen stim1 (.{clock}({clock}){", " if fed else ""}{fed});
  RefModule good1 ({own_clock}{fed}{", " if fed else ""}{", ".join(f".{p.name}({p.name}_ref)" for p in outputs)});
  {top} top_module1 ({own_clock}{fed}{", " if fed else ""}{", ".join(f".{p.name}({p.name}_dut)" for p in outputs)});
  final begin
    {hints}
    $display("Hint: Total mismatched samples is %1d out of %1d samples\\n", stats1.errors, stats1.clocks);
    $display("Simulation finished at %0d ps", $time);
    $display("Mismatches: %1d in %1d samples", stats1.errors, stats1.clocks);
  end
  assign tb_match = ({{{joined["ref"]}}} === ({{{joined["ref"]}}} ^ {{{joined["dut"]}}} ^ {{{joined["ref"]}}}));
  always @(posedge {clock}, negedge {clock}) begin
    stats1.clocks++;
    if (!tb_match) begin
      if (stats1.errors == 0) stats1.errortime = $time;
      stats1.errors++;
    end
    {counted}
  end
  initial begin
    #1000000
    $display("TIMEOUT");
    $finish();
  end
endmodule
"""


def _stimulus(inputs: list[Port], protocol: Protocol) -> tuple[str, str]:
    """The statements that begin a run with all resets asserted, and those that draw all inputs anew."""
    resets = {reset.name: reset for reset in protocol.resets}
    drawn = " ".join(
        f"{p.name} <= {'!' if resets[p.name].is_active_high else '|'}($random & 31);"
        if p.name in resets
        else f"{p.name} <= {{{', '.join(['$random'] * -(-p.width // 32))}}};"
        for p in inputs
    )
    return " ".join(f"{name} <= {int(reset.is_active_high)};" for name, reset in resets.items()), drawn


def _statistics(outputs: list[Port]) -> tuple[str, str]:
    """The statements that count an output's mismatches, and those that print them at the end."""
    counted = " ".join(
        f"if ({p.name}_ref !== ({p.name}_ref ^ {p.name}_dut ^ {p.name}_ref)) begin"
        f" if (stats1.errors_{p.name} == 0) stats1.errortime_{p.name} = $time;"
        f" stats1.errors_{p.name} = stats1.errors_{p.name} + 1'b1; end"
        for p in outputs
    )
    hints = " ".join(
        f"if (stats1.errors_{p.name}) $display(\"Hint: Output '%s' has %0d mismatches, the first at time %0d.\","
        f' "{p.name}", stats1.errors_{p.name}, stats1.errortime_{p.name});'
        f' else $display("Hint: Output \'%s\' has no mismatches.", "{p.name}");'
        for p in outputs
    )
    return counted, hints
