"""Two words in, two words out. It is never filled."""

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge


@cocotb.test()
async def first_in_first_out(dut):
    cocotb.start_soon(Clock(dut.clk, 10, "ns").start())
    dut.rst.value, dut.push.value, dut.pop.value, dut.din.value = 1, 0, 0, 0
    await FallingEdge(dut.clk)
    await FallingEdge(dut.clk)
    dut.rst.value, dut.push.value = 0, 1
    for word in (0xA5, 0x5A):
        dut.din.value = word
        await FallingEdge(dut.clk)
    dut.push.value, dut.pop.value = 0, 1
    for word in (0xA5, 0x5A):
        assert dut.empty.value == 0
        assert dut.dout.value == word
        await FallingEdge(dut.clk)
    assert dut.empty.value == 1
