"""Each input once, with the same data every time."""

import cocotb
from cocotb.triggers import Timer

DATA = (0x11, 0x22, 0x33, 0x44)


@cocotb.test()
async def selects(dut):
    dut.d0.value, dut.d1.value, dut.d2.value, dut.d3.value = DATA
    for sel, expected in enumerate(DATA):
        dut.sel.value = sel
        await Timer(5, "ns")
        assert dut.y.value == expected
