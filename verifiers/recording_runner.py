"""Stands in for cocotb's runner while a harness's own pytest runner is run: writes down its runs, starts no simulator.

A script, `RUNNER OUTPUT`, that runs in the sandbox beside the harness's files, without a candidate; it imports nothing
of ours. The output is JSON: `runs`, in order, and `faults`, why they are not all that the runner would do.
"""

import json
import os
import random
import sys
import types

import pytest

_PLAIN_BUILD = {
    *("hdl_library", "always", "build_dir", "cwd", "clean", "verbose", "waves", "log_file"),
    *("hdl_toplevel", "timescale", "parameters", "sources", "verilog_sources"),
}
_PLAIN_TEST = {
    *("hdl_toplevel_library", "hdl_toplevel_lang", "waves", "gui", "build_dir", "test_dir", "results_xml", "verbose"),
    *("timescale", "log_file", "hdl_toplevel", "test_module", "plusargs", "extra_env", "seed", "parameters"),
}
_PLAIN_BUILD_ARGS = {"-g2012", "-Wall", "-Wno-fatal", "--timing", "--trace", "--trace-fst", "--trace-structs"}
_MAX_RUNS = 64
_PASSED = '<testsuites><testsuite><testcase name="recorded" classname="recorded"/></testsuite></testsuites>'

runs, faults = [], []


class _Unsupported(Exception):
    """What the runner asks for is not done here."""


def _refuse(why):
    faults.append(why)  # kept even where the harness catches the exception
    raise _Unsupported(why)


def _words(value):
    """A list of strings, or a string of words between commas."""
    return value.replace(",", " ").split() if isinstance(value, str) else [str(item) for item in value]


def _refuse_others(arguments, plain, method):
    for name, value in arguments.items():
        if name not in plain and value:
            _refuse(f"the runner gives {name!r} to {method}")


class Runner:
    """The two methods of cocotb's runner, recorded."""

    def __init__(self, simulator):
        self._simulator, self._build = simulator, None

    def build(self, hdl_library="top", verilog_sources=(), **arguments):
        build_args = [str(word) for word in arguments.pop("build_args", ())]
        odd = [word for word in build_args if word not in _PLAIN_BUILD_ARGS]
        if odd:
            _refuse(f"the runner gives {odd[0]!r} to the simulator's build")
        _refuse_others(arguments, _PLAIN_BUILD, "build")
        sources = [str(path) for path in (*arguments.get("sources", ()), *verilog_sources)]
        given = os.environ.get("VERILOG_SOURCES", "").split()
        if {os.path.basename(path) for path in sources} != {os.path.basename(path) for path in given}:
            _refuse(f"the runner builds {' '.join(sources) or 'no source'}, and VERILOG_SOURCES is {' '.join(given)}")
        self._build = arguments

    def test(self, test_module=None, hdl_toplevel=None, **arguments):
        if self._build is None:
            _refuse("the runner tests what it has not built")
        _refuse_others(arguments, _PLAIN_TEST, "test")
        parameters = self._build.get("parameters") or {}
        late = arguments.get("parameters") or {}
        if any(parameters.get(name) != value for name, value in late.items()):
            _refuse("the runner gives other parameters to test than to build")
        timescale = self._build.get("timescale")
        runs.append(
            {
                "top": str(hdl_toplevel or self._build.get("hdl_toplevel") or ""),
                "test_modules": _words(test_module or ""),
                "simulator": self._simulator,
                "parameters": [[str(name), str(value)] for name, value in parameters.items()],
                "plusargs": [str(word) for word in arguments.get("plusargs") or ()],
                "variables": [[str(name), str(value)] for name, value in (arguments.get("extra_env") or {}).items()],
                "time_unit": str(timescale[0]) if timescale else "1ns",
            }
        )
        if len(runs) > _MAX_RUNS:
            _refuse(f"the runner makes more than {_MAX_RUNS} runs")
        path = os.path.abspath(f"recorded_{len(runs)}.xml")
        with open(path, "w") as file:
            file.write(_PASSED)
        return path


def _install():
    """Put the recorder where cocotb 2 and cocotb 1 have their runner."""
    module = types.ModuleType("cocotb_tools.runner")
    module.get_runner = Runner
    module.get_results = lambda path: (1, 0)  # tests, failures
    module.check_results_file = lambda path: None
    sys.modules["cocotb_tools.runner"] = sys.modules["cocotb.runner"] = module


class _Faults:
    """A pytest plugin that keeps what went wrong."""

    def pytest_runtest_logreport(self, report):
        if report.failed:
            said = getattr(report.longrepr, "reprcrash", None)
            faults.append(f"the runner's {report.nodeid.split('::')[-1]} fails: {said.message if said else 'error'}")

    def pytest_collectreport(self, report):
        if report.failed:
            faults.append(f"the runner does not load: {str(report.longrepr).strip().splitlines()[-1]}")


def main(runner, output):
    """Run the tests of a pytest module and write down what they ask of cocotb's runner."""
    _install()
    random.seed(0)  # a runner that draws its parameters draws the same ones for every candidate
    code = pytest.main(["-q", "-p", "no:cacheprovider", runner], plugins=[_Faults()])
    if not faults and code != 0:
        faults.append(f"pytest ends with {int(code)} on the runner")
    if not faults and not runs:
        faults.append("the runner runs no test")
    with open(output, "w") as file:
        json.dump({"runs": runs, "faults": [fault[:300] for fault in faults]}, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
