"""One pulse, at fixed times."""

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge


@cocotb.test()
async def sees_one_rise(dut):
    cocotb.start_soon(Clock(dut.clk, 10, "ns").start())
    dut.rst.value, dut.d.value = 1, 0
    for _ in range(2):
        await FallingEdge(dut.clk)
    dut.rst.value = 0
    seen = []
    for bit in (0, 1, 1, 0):
        dut.d.value = bit
        await FallingEdge(dut.clk)
        seen.append(int(dut.rise.value))
    assert seen == [0, 1, 0, 0]
