"""Small problems of our own in CVDP's layout."""

import json
from pathlib import Path

GOLDEN = """module gray_step (input clk, input rst_n, output reg [2:0] code);
  wire [2:0] next;
  step u_step (.now(code), .next(next));
  always @(posedge clk or negedge rst_n)
    if (!rst_n) code <= 3'd0;
    else code <= next;
endmodule
"""
STEP = """module step (input [2:0] now, output [2:0] next);
  wire [2:0] binary = {now[2], now[2] ^ now[1], now[2] ^ now[1] ^ now[0]};
  wire [2:0] more = binary + 3'd1;
  assign next = more ^ (more >> 1);
endmodule
"""
TESTS = """import os

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge
from model import gray


@cocotb.test()
async def test_counts(dut):
    assert os.environ["TOPLEVEL"] == "gray_step"
    cocotb.start_soon(Clock(dut.clk, 10, unit="ns").start())
    dut.rst_n.value = 0
    await FallingEdge(dut.clk)
    dut.rst_n.value = 1
    for number in range(1, 20):
        await FallingEdge(dut.clk)
        assert int(dut.code.value) == gray(number % 8)
"""
MODEL = "def gray(number):\n    return number ^ (number >> 1)\n"
RUNNER = """import os
from cocotb_tools.runner import get_runner


def test_runner():
    runner = get_runner(os.getenv("SIM", "icarus"))
    runner.build(sources=os.getenv("VERILOG_SOURCES").split(), hdl_toplevel=os.getenv("TOPLEVEL"), always=True,
                 clean=True, verbose=True, timescale=("1ns", "1ns"), log_file="build.log")
    runner.test(hdl_toplevel=os.getenv("TOPLEVEL"), test_module=os.getenv("MODULE"), waves=True)
"""
ENV = """SIM             = icarus
TOPLEVEL_LANG   = verilog
VERILOG_SOURCES = /code/rtl/gray_step.sv /code/rtl/step.v
TOPLEVEL        = gray_step
MODULE          = test_gray
PYTHONPATH      = /src
HASH            = 0123456789abcdef
"""


def row(*, golden: str = GOLDEN, env: str = ENV, **changes: str) -> dict:
    """A row of category cid004. `changes` are of harness files: test_gray, model, test_runner."""
    files = {"test_gray": TESTS, "model": MODEL, "test_runner": RUNNER} | changes
    return {
        "id": "cvdp_copilot_gray_step_0001",
        "categories": ["cid004", "easy"],
        "input": {"prompt": "Make the counter step in Gray code.", "context": {"rtl/step.v": STEP}},
        "output": {"response": "", "context": {"rtl/gray_step.sv": golden}},
        "harness": {
            "files": {
                "docker-compose.yml": "services:\n\n  direct:\n    image: __OSS_SIM_IMAGE__\n",
                "src/.env": env,
                **{f"src/{name}.py": text for name, text in files.items()},
            }
        },
    }


def write_rows(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(item) + "\n" for item in rows))
    return path
