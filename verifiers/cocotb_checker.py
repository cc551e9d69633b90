"""Compiles a candidate for Icarus and runs a cocotb test module on it, or lists the module's tests. Pure: runs nothing.

The results file has a name that the candidate's compilation never sees, in a folder where the candidate, which the
screen keeps from files, can write nothing. Whose fault a failure is, and what a pass takes, `verifiers.cocotb_judge`
says.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from toolchain.cocotb import CocotbInstall, TestResult, environment, read_results, simulate_argv
from toolchain.command import CommandResult, Limits
from toolchain.diagnostics import Diagnostic
from toolchain.icarus import Ending, compile_argv, ending_of
from verifiers.checker import Step
from verifiers.icarus_build import COMPILE_LIMITS
from verifiers.simulate import DESIGN_FILE, Failure, compile_failure, describe_ending
from verifiers.types import Stage

TEST_MODULE = "earl_tests"  # the name under which a problem's test module is imported
# Python with cocotb, pytest and what the user imports; `file_bytes` bounds the results file too.
RUN_LIMITS = Limits(cpu_s=10, wall_s=40.0, memory_bytes=2 << 30, output_bytes=8 << 20, file_bytes=16 << 20)

_IMAGE_FILE, _TIME_FILE = "design.vvp", "timescale.v"
_LIST_MODULE, _LIST_TOP = "earl_list_tests", "earl_no_design"
_LIST_SOURCE = '''"""Lists the tests of a module by cocotb's own rules, without running one."""

import json

import cocotb
from cocotb.regression import RegressionManager


class _Lister(RegressionManager):
    def __init__(self):
        super().__init__()
        self.found = []

    def register_test(self, test):
        super().register_test(test)
        self.found.append([test.fullname, bool(test.skip)])


@cocotb.test()
async def list_tests(_):
    lister = _Lister()
    lister.discover_tests({module!r})
    with open({output!r}, "w") as file:
        json.dump(lister.found, file)
'''


@dataclass(frozen=True, kw_only=True, slots=True)
class CocotbJob:
    """A design and the test module to run on it. `nonce` names the results file; take a fresh one for each run."""

    design: str
    top: str
    test_source: str
    seed: int
    nonce: str
    files: tuple[tuple[str, str], ...] = ()  # data or helper modules beside the test module
    variables: tuple[tuple[str, str], ...] = ()  # of the tests' environment
    parameters: tuple[tuple[str, str], ...] = ()  # of the top module
    plusargs: tuple[str, ...] = ()
    time_unit: str = "1ns"  # of a design that does not say its own

    @property
    def results_file(self) -> str:
        return f"results_{self.nonce}.xml"


def test_files(job: CocotbJob) -> dict[str, str]:
    """The files that the Python side of a job needs."""
    return {**dict(job.files), f"{TEST_MODULE}.py": job.test_source}


def read_run(job: CocotbJob, result: CommandResult, outputs: dict[str, str]) -> tuple[TestResult, ...] | Failure:
    """What a simulation with cocotb in it says: every test that the results file names, or how it failed to say."""
    ending = ending_of(result)
    if ending is not Ending.CLEAN:
        return Failure(stage=Stage.SIMULATE, ending=ending, diagnostics=(describe_ending(ending, result),))
    text = outputs.get(job.results_file)
    results = read_results(text) if text is not None else "there is none"
    if isinstance(results, str):
        diagnostic = Diagnostic(message=f"cocotb's results file cannot be used: {results}", code="results_file")
        return Failure(stage=Stage.SIMULATE, ending=ending, diagnostics=(diagnostic,))
    return results


class CocotbChecker:
    """cocotb on Icarus Verilog, given the paths of Icarus' two programs."""

    def __init__(self, *, iverilog: str, vvp: str, install: CocotbInstall) -> None:
        self._iverilog, self._vvp, self._install = iverilog, vvp, install

    def files(self, job: CocotbJob) -> dict[str, str]:
        return {**test_files(job), _TIME_FILE: _time_module(job), DESIGN_FILE: job.design}

    def steps(self, job: CocotbJob) -> tuple[Step, ...]:
        # A root module of our own keeps the simulation's precision at 1 ps, whatever the candidate's is.
        argv = compile_argv(
            self._iverilog,
            sources=(_TIME_FILE, DESIGN_FILE),
            tops=(job.top, f"time_{job.nonce}"),
            output=_IMAGE_FILE,
            parameters=job.parameters,
        )
        env = dict(job.variables) | environment(
            self._install, top=job.top, test_module=TEST_MODULE, results_file=job.results_file, seed=job.seed
        )
        run = (*simulate_argv(self._vvp, self._install, image=_IMAGE_FILE), *job.plusargs)
        return (Step(argv=argv, limits=COMPILE_LIMITS), Step(argv=run, limits=RUN_LIMITS, env=env))

    def collects(self, job: CocotbJob) -> tuple[str, ...]:
        return (job.results_file,)

    def parse(
        self, job: CocotbJob, results: Sequence[CommandResult], outputs: dict[str, str]
    ) -> tuple[TestResult, ...] | Failure:
        """The tests that ran, or how the compiler (one result) or the simulation (two) failed."""
        ending = ending_of(results[-1])
        if len(results) == 1 and ending is not Ending.CLEAN:
            return compile_failure(ending, results[-1])
        assert len(results) == 2, f"a clean compilation is followed by a run, got {len(results)} results"
        return read_run(job, results[-1], outputs)


class CocotbLister:
    """Lists the tests of a module, by cocotb itself, on an empty design. The candidate has no part in it."""

    def __init__(self, *, iverilog: str, vvp: str, install: CocotbInstall) -> None:
        self._iverilog, self._vvp, self._install = iverilog, vvp, install

    def files(self, job: CocotbJob) -> dict[str, str]:
        lister = _LIST_SOURCE.format(module=TEST_MODULE, output=_names_file(job))
        return {**test_files(job), f"{_LIST_MODULE}.py": lister, DESIGN_FILE: f"module {_LIST_TOP};\nendmodule\n"}

    def steps(self, job: CocotbJob) -> tuple[Step, ...]:
        compiler = compile_argv(self._iverilog, sources=(DESIGN_FILE,), tops=(_LIST_TOP,), output=_IMAGE_FILE)
        env = dict(job.variables) | environment(
            self._install, top=_LIST_TOP, test_module=_LIST_MODULE, results_file=job.results_file, seed=job.seed
        )
        run = (*simulate_argv(self._vvp, self._install, image=_IMAGE_FILE), *job.plusargs)
        return (Step(argv=compiler, limits=COMPILE_LIMITS), Step(argv=run, limits=RUN_LIMITS, env=env))

    def collects(self, job: CocotbJob) -> tuple[str, ...]:
        return (_names_file(job), job.results_file)

    def parse(
        self, job: CocotbJob, results: Sequence[CommandResult], outputs: dict[str, str]
    ) -> tuple[str, ...] | Failure:
        """The full names of the tests that are not marked to be skipped, or why they cannot be listed."""
        run = read_run(job, results[-1], outputs)
        if isinstance(run, Failure):
            return run
        faults = tuple(
            Diagnostic(message=f"the test module cannot be read: {result.message}", code="test_module")
            for result in run
            if result.status != "passed"
        )
        names = _read_names(outputs.get(_names_file(job), ""))
        if faults or names is None:
            faults = faults or (Diagnostic(message="the test module wrote over the list of its tests"),)
            return Failure(stage=Stage.SIMULATE, ending=Ending.CLEAN, diagnostics=faults)
        return names


def _read_names(text: str) -> tuple[str, ...] | None:
    """The names in the lister's file; None when it is not as the lister writes it (the test module is Python too)."""
    try:
        rows = json.loads(text)
    except ValueError:
        return None
    is_sound = isinstance(rows, list) and all(
        isinstance(row, list) and [type(item) for item in row] == [str, bool] for row in rows
    )
    return tuple(name for name, is_skipped in rows if not is_skipped) if is_sound else None


def _names_file(job: CocotbJob) -> str:
    return f"names_{job.nonce}.json"


def _time_module(job: CocotbJob) -> str:
    return f"`timescale 1ns/1ps\nmodule time_{job.nonce};\nendmodule\n`timescale {job.time_unit}/1ps\n"
