"""Neighbours differ in one bit. That they are all different is not asked."""

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge


@cocotb.test()
async def one_bit_a_step(dut):
    cocotb.start_soon(Clock(dut.clk, 10, "ns").start())
    dut.rst.value = 1
    await FallingEdge(dut.clk)
    await FallingEdge(dut.clk)
    dut.rst.value = 0
    last = int(dut.g.value)
    for _ in range(40):
        await FallingEdge(dut.clk)
        now = int(dut.g.value)
        assert (now ^ last).bit_count() == 1
        last = now
