"""Random sums. Values that are not resolved are passed over, as one often sees it."""

import random

import cocotb
from cocotb.triggers import Timer


@cocotb.test()
async def adds(dut):
    for _ in range(40):
        a, b = random.randrange(16), random.randrange(16)
        dut.a.value, dut.b.value = a, b
        await Timer(2, "ns")
        if dut.y.value.is_resolvable:
            assert dut.y.value.to_unsigned() == a + b
