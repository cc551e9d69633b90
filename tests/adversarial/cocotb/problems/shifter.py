"""Random bits through the register, compared with a model, for thirty cycles."""

import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge


@cocotb.test()
async def shifts(dut):
    cocotb.start_soon(Clock(dut.clk, 10, "ns").start())
    dut.rst.value, dut.d.value = 1, 0
    await FallingEdge(dut.clk)
    await FallingEdge(dut.clk)
    dut.rst.value = 0
    model = 0
    for _ in range(30):
        bit = random.randrange(2)
        dut.d.value = bit
        model = (model << 1 | bit) & 15
        await FallingEdge(dut.clk)
        assert dut.q.value == model
