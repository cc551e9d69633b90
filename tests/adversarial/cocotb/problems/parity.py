"""Says what the outputs must not be, and never what they must be."""

import cocotb
from cocotb.triggers import Timer


@cocotb.test()
async def never_both(dut):
    for value in range(256):
        dut.d.value = value
        await Timer(1, "ns")
        parity = value.bit_count() % 2
        assert dut.odd.value != 1 - parity
        assert dut.even.value != parity
