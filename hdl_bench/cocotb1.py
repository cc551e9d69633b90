"""Names of cocotb 1 that cocotb 2 dropped and that mean the same there. Put beside a harness's tests, imported first.

Left out on purpose: `cocotb.binary` (its BinaryValue counts bits from the other end), `Timer(0)`, generator coroutines.
"""

import inspect

import cocotb
import cocotb.result
from cocotb.types import Logic


def _coroutine(function):
    if not inspect.iscoroutinefunction(function):
        raise TypeError(f"{function.__name__} is a generator coroutine of cocotb 1; cocotb 2 runs async functions only")
    return function


def _add(owner, name, value):
    if not hasattr(owner, name):
        setattr(owner, name, value)


_add(cocotb, "coroutine", _coroutine)
_add(cocotb, "fork", cocotb.start_soon)
_add(cocotb.result, "TestFailure", AssertionError)
for _name in ("integer", "signed_integer"):  # a vector has them, one bit no more
    _add(Logic, _name, property(int))
_add(Logic, "binstr", property(str))
