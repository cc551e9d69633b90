"""Which runs a runner makes, as recorded: the recorder is run for real, no simulator is."""

import pytest

from toolchain.cocotb import find_cocotb
from toolchain.command import CommandResult
from toolchain.executor import LocalExecutor
from verifiers.checker import run_check
from verifiers.cocotb_runner import RunnerJob, RunnerRecorder
from verifiers.types import CocotbOracle

pytest.importorskip("cocotb_tools")

HEAD = """import os, random
import pytest
from cocotb_tools.runner import get_runner
SOURCES = os.environ["VERILOG_SOURCES"].split()
def run(build={}, test={}, **parameters):
    runner = get_runner("icarus")
    runner.build(**{"sources": SOURCES, "hdl_toplevel": "top", "parameters": parameters} | build)
    return runner.test(**{"hdl_toplevel": "top", "test_module": "test_top"} | test)
"""


def record(body: str):
    oracle = CocotbOracle(
        test_source="",
        files=(("test_runner.py", HEAD + body), ("test_top.py", "")),
        runner="test_runner.py",
        variables=(("VERILOG_SOURCES", "/code/rtl/a.sv /code/rtl/b.sv"),),
    )
    install = find_cocotb()
    executor = LocalExecutor(isolation="auto", read_only=install.read_only)
    return run_check(RunnerRecorder(install=install), RunnerJob(oracle=oracle, top="top", nonce="f00"), executor)


@pytest.mark.tool
def test_parametrised_tests_loops_defaults_and_random_parameters_are_recorded_in_order():
    body = """
def test_default(W=3, N="8'hff"): run(W=W, N=N)
@pytest.mark.parametrize("W", [1, 2])
@pytest.mark.parametrize("N", [7, 8])
def test_both(W, N): run(W=W, N=N)
def test_loop():
    for size in (5, 6): run(W=size)
def test_drawn(): run(W=random.randint(0, 10**9), test={"plusargs": ["+x=1"], "extra_env": {"A": "b"}})
def test_result():
    from cocotb_tools.runner import get_results
    assert get_results(run(build={"timescale": ("1ps", "1ps")})) == (1, 0)
"""
    runs = record(body)
    shown = [str(run) for run in runs]
    both = ["W=1, N=7", "W=2, N=7", "W=1, N=8", "W=2, N=8"]
    assert shown[:7] == ["W=3, N=8'hff", *both, "W=5", "W=6"]
    assert shown[7].endswith(", +x=1")
    assert (runs[7].variables, runs[8].time_unit, runs[0].time_unit) == ((("A", "b"),), "1ps", "1ns")
    assert record(body) == runs  # the drawn parameter too


@pytest.mark.tool
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("def test(): run(build={'defines': {'X': 1}})", "the runner gives 'defines' to build"),
        ("def test(): run(build={'build_args': ['-coverage']})", "gives '-coverage' to the simulator's build"),
        ("def test(): run(build={'sources': SOURCES[:1]})", "the runner builds /code/rtl/a.sv, and VERILOG_SOURCES is"),
        ("def test(): run(test={'parameters': {'W': 2}}, W=1)", "other parameters to test than to build"),
        ("def test(): run(test={'hdl_toplevel': 'other'})", "the runner's top module is 'other'"),
        ("def test(): get_runner('icarus').test('test_top', 'top')", "tests what it has not built"),
        ("def test(): run(W='1;2')", "gives 'W=1;2', which no simulator here takes"),
        ("def test(): [run() for _ in range(65)]", "more than 64 runs"),
        ("def test():\n    run()\n    open('sim.log')", "the runner's test fails: FileNotFoundError"),
        ("def test():\n    try: run(build={'defines': {'X': 1}})\n    except Exception: run()", "gives 'defines'"),
        ("def test(): pass", "the runner runs no test"),
        ("import no_such_module", "the runner does not load: E   ModuleNotFoundError"),
        ("def test():\n    run()\n    os._exit(0)", "the record of the runner's runs cannot be used"),
    ],
)
def test_what_is_not_run_as_asked_is_refused_with_the_reason(body, said):
    assert said in record(body)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be used"),
        ('{"runs": [{"top": 3}], "faults": []}', "cannot be used"),
        ('{"runs": [], "faults": [], "verdict": "passed"}', "cannot be used"),
        ('{"runs": [], "faults": ["no"]}', "no"),
    ],
)
def test_a_record_that_is_not_as_the_recorder_writes_it_is_not_believed(text, said):
    oracle = CocotbOracle(test_source="", files=(("test_top.py", ""),), runner="test_runner.py")
    recorder, job = RunnerRecorder(install=find_cocotb()), RunnerJob(oracle=oracle, top="top", nonce="f00")
    done = CommandResult(returncode=0, stdout="", stderr="", duration_s=1.0)
    assert said in recorder.parse(job, (done,), {"runs_f00.json": text})
