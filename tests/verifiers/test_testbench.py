"""The testbench's text, and what Icarus makes of it."""

import re
import subprocess
from pathlib import Path

import pytest

from toolchain.icarus import compile_argv, simulate_argv
from toolchain.tool import find_tool
from verifiers.stimulus import Stimulus
from verifiers.testbench import build_testbench, row_file_name
from verifiers.trace import BrokenTrace, Trace, parse_traces
from verifiers.types import Clock, Port, Protocol

_PORTS = (
    Port(name="clk", direction="input"),
    Port(name="d", direction="input", width=70),
    Port(name="q", direction="output", width=70),
    Port(name="odd", direction="output"),
)
_PROTOCOL = Protocol(clocks=(Clock(name="clk"),))


def test_every_name_of_the_testbench_carries_a_nonce_that_is_new_each_time():
    first, second = (build_testbench(("Top",), _PORTS, _PROTOCOL) for _ in range(2))
    nonces = [[bench.top.removeprefix("tb_"), *bench.nonces] for bench in (first, second)]
    assert len({nonce for group in nonces for nonce in group}) == 4
    texts = [bench.text for bench in (first, second)]
    for index in range(2):
        for nonce in nonces[index]:
            texts[index] = texts[index].replace(nonce, "")
    assert texts[0] == texts[1]
    known = """timescale ns ps module reg wire integer initial begin end while endmodule fopen fscanf display finish
    rows0 txt r b h if Top clk d q odd""".split()  # noqa: SIM905  (a list of words reads better so)
    words = set(re.findall(r"(?<!\w)[A-Za-z_]\w*", first.text)) - set(known)
    assert words
    assert all(any(nonce in word for nonce in nonces[0]) for word in words), words


def _play(tmp_path: Path, design: str, ports: tuple[Port, ...], rows: tuple[tuple[int, ...], ...]) -> Trace:
    testbench = build_testbench(("Top",), ports, _PROTOCOL if ports is _PORTS else Protocol())
    inputs = tuple(port for port in ports if port.direction == "input")
    (tmp_path / row_file_name(0)).write_text(Stimulus.of_rows(rows, inputs=inputs).row_file)
    (tmp_path / "tb.v").write_text(testbench.text)
    (tmp_path / "design.v").write_text(design)
    for argv in (
        compile_argv(
            str(find_tool("iverilog").path), sources=("tb.v", "design.v"), tops=(testbench.top,), output="out.vvp"
        ),
        simulate_argv(str(find_tool("vvp").path), image="out.vvp"),
    ):
        result = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    traces = parse_traces(result.stdout, testbench, (len(rows),))
    assert not isinstance(traces, BrokenTrace), traces
    return traces[0][0]


@pytest.mark.tool
def test_wide_rows_are_applied_in_order_and_sampled_at_their_end(tmp_path):
    design = """module Top(input clk, input [69:0] d, output reg [69:0] q, output odd);
  always @(posedge clk) q <= d;
  assign odd = d[0];
endmodule
"""
    big = (1 << 69) + 5
    trace = _play(tmp_path, design, _PORTS, ((0, big), (1, big), (1, 2), (0, 2), (1, 2)))
    assert trace.values["odd"] == ("1", "1", "0", "0", "0")
    assert trace.values["q"] == ("x" * 70, f"{big:070b}", f"{big:070b}", f"{big:070b}", f"{2:070b}")


@pytest.mark.tool
def test_row_0_is_an_event_for_always_blocks_but_no_edge_of_a_clock(tmp_path):
    design = """module Top(input clk, input [69:0] d, output reg [69:0] q, output reg odd);
  initial q = 0;
  always @(posedge clk or negedge clk) q <= q + 1;
  always @(*) odd = d[0];
endmodule
"""
    trace = _play(tmp_path, design, _PORTS, ((0, 0), (1, 0), (0, 0)))
    assert trace.values["odd"] == ("0", "0", "0")
    assert [int(value, 2) for value in trace.values["q"]] == [0, 1, 2]


@pytest.mark.tool
def test_a_design_without_inputs_or_with_unconnected_outputs_is_played_too(tmp_path):
    ports = (Port(name="y", direction="output", width=3), Port(name="z", direction="output"))
    design = "module Top(output [2:0] y, output z);\n  assign y = 3'b101;\nendmodule\n"
    trace = _play(tmp_path, design, ports, ((), ()))
    assert trace.values == {"y": ("101", "101"), "z": ("z", "z")}
