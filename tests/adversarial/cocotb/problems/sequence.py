"""A fixed stream with 101 in it twice."""

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer

STREAM = (1, 0, 1, 1, 0, 0, 1, 0, 1, 0)
EXPECTED = (0, 0, 1, 0, 0, 0, 0, 0, 1, 0)


@cocotb.test()
async def finds_101(dut):
    cocotb.start_soon(Clock(dut.clk, 10, "ns").start())
    dut.rst.value, dut.x.value = 1, 0
    await FallingEdge(dut.clk)
    await FallingEdge(dut.clk)
    dut.rst.value = 0
    for x, z in zip(STREAM, EXPECTED, strict=True):
        dut.x.value = x
        await Timer(1, "ns")
        assert dut.z.value == z
        await FallingEdge(dut.clk)
