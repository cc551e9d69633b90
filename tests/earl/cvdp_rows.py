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


def row(*, golden: str = GOLDEN, env: str = ENV, compose: str = "", **changes: str) -> dict:
    """A row of category cid004. `changes` are of harness files: test_gray, model, test_runner."""
    files = {"test_gray": TESTS, "model": MODEL, "test_runner": RUNNER} | changes
    return {
        "id": "cvdp_copilot_gray_step_0001",
        "categories": ["cid004", "easy"],
        "input": {"prompt": "Make the counter step in Gray code.", "context": {"rtl/step.v": STEP}},
        "output": {"response": "", "context": {"rtl/gray_step.sv": golden}},
        "harness": {
            "files": {
                "docker-compose.yml": "services:\n\n  direct:\n" + (compose or "    image: __OSS_SIM_IMAGE__\n"),
                "src/.env": env,
                **{f"src/{name}.py": text for name, text in files.items()},
            }
        },
    }


def write_rows(path: Path, *rows: dict) -> Path:
    path.write_text("".join(json.dumps(item) + "\n" for item in rows))
    return path


ROTATE = """module rotate #(parameter WIDTH = 4) (input [WIDTH-1:0] in, input left, output [WIDTH-1:0] out);
  assign out = left ? {in[WIDTH-2:0], in[WIDTH-1]} : {in[0], in[WIDTH-1:1]};
endmodule
"""
ROTATE_TESTS = """import os
import random

import cocotb
from cocotb.triggers import Timer

NUMBER = os.environ.get("NUMBER")
assert NUMBER is None or cocotb.plusargs["number"] == NUMBER


@cocotb.test()
async def rotates(dut):
    width = int(dut.WIDTH.value)
    for _ in range(40):
        bits = random.getrandbits(width)
        left = random.getrandbits(1)
        dut["in"].value, dut.left.value = bits, left
        await Timer(1, unit="ns")
        turned = bits << 1 | bits >> width - 1 if left else bits >> 1 | (bits & 1) << width - 1
        assert int(dut.out.value) == turned & (1 << width) - 1
"""
ROTATE_RUNNER = """import os
import random

import pytest
from cocotb.runner import get_runner


def run(width, **more):
    runner = get_runner(os.getenv("SIM"))
    runner.build(sources=os.getenv("VERILOG_SOURCES").split(), hdl_toplevel=os.getenv("TOPLEVEL"), always=True,
                 parameters={"WIDTH": width}, build_args=("-g2012",), timescale=("1ns", "1ns"), log_file="sim.log")
    runner.test(hdl_toplevel=os.getenv("TOPLEVEL"), test_module=os.getenv("MODULE"), **more)


@pytest.mark.parametrize("width", [4, 5])
def test_widths(width):
    run(width)


@pytest.mark.parametrize("number", range(2))
def test_drawn(number):
    run(random.randint(8, 60), plusargs=[f"+number={number}"], extra_env={"NUMBER": str(number)})
"""


def rotate_row(*, golden: str = ROTATE, tests: str = ROTATE_TESTS, runner: str = ROTATE_RUNNER) -> dict:
    """A row whose runner makes four runs of a module with a parameter."""
    env = ENV.replace("gray_step.sv /code/rtl/step.v", "rotate.sv").replace("gray_step", "rotate")
    return {
        "id": "cvdp_copilot_rotate_0001",
        "categories": ["cid003", "easy"],
        "input": {"prompt": "Rotate by one.", "context": {}},
        "output": {"response": "", "context": {"rtl/rotate.sv": golden}},
        "harness": {
            "files": {
                "docker-compose.yml": "services:\n  direct:\n    command: pytest -s /src/run_rotate.py -v\n",
                "src/.env": env.replace("test_gray", "test_rotate"),
                "src/test_rotate.py": tests,
                "src/run_rotate.py": runner,
            }
        },
    }
