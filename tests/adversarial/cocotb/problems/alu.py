"""A table of vectors."""

import cocotb
from cocotb.triggers import Timer

VECTORS = ((0, 10, 20, 30), (1, 50, 8, 42), (2, 0xF0, 0x3C, 0x30), (3, 0xF0, 0x3C, 0xCC), (1, 7, 7, 0))


@cocotb.test()
@cocotb.parametrize(vector=VECTORS)
async def computes(dut, vector):
    op, a, b, expected = vector
    dut.op.value, dut.a.value, dut.b.value = op, a, b
    await Timer(3, "ns")
    assert dut.y.value == expected
    assert dut.zero.value == int(expected == 0)
