"""Resets, counts twenty cycles, holds."""

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge


@cocotb.test()
async def counts_and_holds(dut):
    cocotb.start_soon(Clock(dut.clk, 10, "ns").start())
    dut.rst.value, dut.en.value = 1, 0
    await FallingEdge(dut.clk)
    await FallingEdge(dut.clk)
    dut.rst.value, dut.en.value = 0, 1
    for expected in range(1, 21):
        await FallingEdge(dut.clk)
        assert dut.q.value == expected
    dut.en.value = 0
    await FallingEdge(dut.clk)
    assert dut.q.value == 20
