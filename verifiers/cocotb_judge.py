"""Judges a candidate by a user's cocotb test module, once, or in every run that its harness's runner makes.

A pass needs every test that cocotb finds in the module, none of them skipped, each passed, none twice and none more,
by the results file alone. Where there is a golden it must pass as well, once a problem, before any candidate is blamed.
Tests that ask for too little are not seen here: with a golden, `verifiers.verify` wants our own generated testbench
too. With tests alone, a design that is right for just their length and stimulus passes.
"""

import functools
import importlib.util
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from toolchain.cocotb import CocotbInstall, TestResult, find_cocotb
from toolchain.diagnostics import Diagnostic
from toolchain.errors import InfrastructureError, ToolNotFound, UsageError
from toolchain.executor import Executor, LocalExecutor
from toolchain.tool import find_tool
from verifiers.build_cache import BuildCache, default_folder
from verifiers.checker import run_check
from verifiers.cocotb_checker import TEST_MODULE, CocotbChecker, CocotbJob, CocotbLister
from verifiers.cocotb_runner import MODULES_VARIABLE, CocotbRun, RunnerJob, RunnerRecorder, plain_run
from verifiers.cocotb_verilator import VerilatorCocotb
from verifiers.errors import ProblemError
from verifiers.lexer import rename_identifier
from verifiers.simulate import DESIGN_FILE, Failure
from verifiers.types import CocotbOracle, Problem
from verifiers.verilator_build import PROGRAM

FULL_RUNGS = frozenset(("bubblewrap", "container"))  # what a stranger's Python needs around it
_NUM_CONTROLS = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class CocotbFinding:
    """How many tests the module has, and what is wrong with the candidate: nothing for a pass."""

    num_tests: int
    faults: tuple[Diagnostic, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedRun:
    """A run that a candidate must pass, with the names of its tests."""

    run: CocotbRun
    names: tuple[str, ...]


class CocotbJudge:
    """cocotb test modules under one executor, which must show the folders of `CocotbInstall.read_only`.

    The tests of a module, and that the golden passes them, are kept, the most recent ones. Raises ToolNotFound when
    cocotb or Icarus is not installed. `verilator` is called when the first oracle asks for that simulator.
    """

    def __init__(
        self, *, executor: Executor, verilator: Callable[[CocotbInstall], VerilatorCocotb] | None = None
    ) -> None:
        self._executor = executor
        self._make_verilator = verilator
        self._install = find_cocotb()
        iverilog, vvp = (str(find_tool(name).path) for name in ("iverilog", "vvp"))
        self._checker = CocotbChecker(iverilog=iverilog, vvp=vvp, install=self._install)
        self._recorder = RunnerRecorder(install=self._install)
        self._lister = CocotbLister(iverilog=iverilog, vvp=vvp, install=self._install)
        self._known_control = functools.lru_cache(maxsize=_NUM_CONTROLS)(self._run_control)

    def judge(self, problem: Problem, design: str, seed: int) -> CocotbFinding | Failure:
        """The finding on a design that has passed the static checks, or how its run failed, by its own fault.

        Raises ProblemError when the module or the golden fails here: then no candidate can be judged.
        """
        runs = self.control(problem)
        finding = self._run_all(problem.oracle, runs, design, seed)
        if isinstance(finding, Failure) and finding.is_odd:
            # Ours or the candidate's? If it is the machine, the control fails too, or a second try goes through.
            self.control(problem, is_fresh=True)
            finding = self._run_all(problem.oracle, runs, design, seed)
        return finding

    def versions_of(self, oracle: CocotbOracle) -> dict[str, str]:
        """The versions of what judges by an oracle, beside Icarus."""
        simulator = self._verilator.versions if oracle.simulator == "verilator" else {}
        return {"cocotb": self._install.version, **simulator}

    def control(self, problem: Problem, *, is_fresh: bool = False) -> tuple[PlannedRun, ...]:
        """The runs and tests that a candidate must pass; where there is a golden, it has passed them.

        `is_fresh` runs it again even if it is known. Raises InfrastructureError when it fails, when the module has no
        test, and for a test module that is not trusted on a rung that is not full.
        """
        oracle = problem.oracle
        assert isinstance(oracle, CocotbOracle), oracle
        if not oracle.is_trusted and self._executor.isolation not in FULL_RUNGS:
            raise InfrastructureError(
                f"problem {problem.problem_id}: its cocotb tests are Python that is not trusted, and the isolation "
                f"here is {self._executor.isolation}; such tests run under {' or '.join(sorted(FULL_RUNGS))} only. "
                "Install bubblewrap (`earl doctor` shows why it does not work), or set is_trusted for your own tests."
            )
        run = self._run_control if is_fresh else self._known_control
        try:
            return run(oracle, problem.top_module)
        except InfrastructureError as error:
            raise type(error)(f"problem {problem.problem_id}: {error}") from error

    def _run_control(self, oracle: CocotbOracle, top_module: str) -> tuple[PlannedRun, ...]:
        runs = self._plan(oracle, top_module)
        # What a test module has may depend on its environment and plus-arguments, not on parameters.
        names = {key: self._list(oracle, run) for key, run in {_environment_of(run): run for run in runs}.items()}
        planned = tuple(PlannedRun(run=run, names=names[_environment_of(run)]) for run in runs)
        if oracle.golden is not None:
            assert oracle.golden_top is not None, "an oracle with a golden names its top module"
            design = rename_identifier(oracle.golden, oracle.golden_top, top_module)
            finding = self._run_all(oracle, planned, design, 0)
            faults = finding.diagnostics if isinstance(finding, Failure) else finding.faults
            if faults:
                raise ProblemError(f"the golden fails the cocotb tests: {_said(faults)}. Repair it.")
        return planned

    def _plan(self, oracle: CocotbOracle, top_module: str) -> tuple[CocotbRun, ...]:
        if not oracle.runner:
            return (plain_run(oracle, top_module),)
        if importlib.util.find_spec("pytest") is None:
            raise ToolNotFound("a harness's runner needs pytest. Install it: pip install 'earl-rtl[cocotb]'.")
        job = RunnerJob(oracle=oracle, top=top_module, nonce=secrets.token_hex(8))
        runs = run_check(self._recorder, job, self._executor)
        if isinstance(runs, str):
            raise ProblemError(f"its harness's {oracle.runner} is not run here: {runs}.")
        return runs

    def _list(self, oracle: CocotbOracle, run: CocotbRun) -> tuple[str, ...]:
        names = run_check(self._lister, _job(oracle, run, "", 0), self._executor)
        if isinstance(names, Failure):
            raise ProblemError(f"the cocotb test module does not load: {_said(names.diagnostics)}. Repair it.")
        if not names:
            raise ProblemError("the cocotb test module has no test that is not skipped. Repair it.")
        return names

    def _run_all(
        self, oracle: CocotbOracle, runs: tuple[PlannedRun, ...], design: str, seed: int
    ) -> CocotbFinding | Failure:
        """The finding over all runs, up to the first with a fault; each has a seed of its own."""
        num_tests = 0
        for index, planned in enumerate(runs):
            results = self._run(oracle, planned.run, design, seed + index)
            if isinstance(results, Failure):
                return results
            finding = _find_faults(planned.names, results)
            num_tests += finding.num_tests
            if finding.faults:
                faults = finding.faults if len(runs) == 1 else _with_run(finding.faults, planned.run)
                return CocotbFinding(num_tests=num_tests, faults=faults)
        return CocotbFinding(num_tests=num_tests, faults=())

    def _run(self, oracle: CocotbOracle, run: CocotbRun, design: str, seed: int) -> tuple[TestResult, ...] | Failure:
        job = _job(oracle, run, design, seed)
        if oracle.simulator == "icarus":
            return run_check(self._checker, job, self._executor)
        if oracle.simulator == "verilator" and self._make_verilator is not None:
            return self._verilator.run(job)
        raise UsageError(f"the cocotb oracle's simulator is {oracle.simulator!r}; use icarus or verilator.")

    @functools.cached_property
    def _verilator(self) -> VerilatorCocotb:
        assert self._make_verilator is not None
        return self._make_verilator(self._install)


def local_cocotb_judge(*, isolation: str, scratch: Path | None = None) -> CocotbJudge:
    """A judge on this machine. Raises as CocotbJudge, and InfrastructureError when the named rung does not work."""
    folders = (*(find_tool(name).prefix for name in ("iverilog", "vvp")), *find_cocotb().read_only)
    for folder in folders:
        if Path.home().is_relative_to(folder):
            raise InfrastructureError(
                f"Icarus or this Python is installed under {folder}, which holds the home folder: the sandbox would "
                "show that to tests and candidates. Install it in a folder of its own."
            )
    return CocotbJudge(
        executor=LocalExecutor(isolation=isolation, read_only=folders, scratch=scratch),
        verilator=lambda install: VerilatorCocotb(
            isolation=isolation, cache=BuildCache(default_folder()), install=install, scratch=scratch
        ),
    )


def _environment_of(run: CocotbRun) -> tuple[object, ...]:
    return run.test_modules, run.variables, run.plusargs


def _with_run(faults: tuple[Diagnostic, ...], run: CocotbRun) -> tuple[Diagnostic, ...]:
    return tuple(Diagnostic(message=f"{fault.message} ({run})", code=fault.code) for fault in faults)


def _job(oracle: CocotbOracle, run: CocotbRun, design: str, seed: int) -> CocotbJob:
    taken = {name for name, _ in oracle.files} & {f"{TEST_MODULE}.py", DESIGN_FILE, PROGRAM}
    if taken:
        raise UsageError(f"the cocotb oracle's file {min(taken)} has a name that is ours; rename it.")
    return CocotbJob(
        design=design,
        top=run.top,
        test_source=oracle.test_source,
        seed=seed,
        nonce=secrets.token_hex(8),
        files=oracle.files,
        variables=(*oracle.variables, *run.variables, (MODULES_VARIABLE, ",".join(run.test_modules))),
        parameters=run.parameters,
        plusargs=run.plusargs,
        time_unit=run.time_unit,
    )


def _find_faults(names: tuple[str, ...], results: tuple[TestResult, ...]) -> CocotbFinding:
    """What keeps results from being a pass of all of `names`: each must be there once, and nothing else but skips."""
    by_name = {result.name: result for result in results}
    counts = Counter(result.name for result in results)
    messages = []
    for name in names:
        result = by_name.get(name)
        if result is None:
            messages.append(f"the test {name} did not run")
        elif result.status != "passed":
            messages.append(f"the test {name} {_STATUS_WORDS[result.status]}: {result.message}")
        elif counts[name] != 1:
            messages.append(f"the test {name} is in the results {counts[name]} times")
    strays = [result.name for result in results if result.name not in names and result.status != "skipped"]
    messages += [f"the results hold {name[:80]!r}, which the test module does not" for name in strays]
    faults = tuple(Diagnostic(message=message, code="cocotb_test") for message in messages)
    return CocotbFinding(num_tests=len(names), faults=faults)


_STATUS_WORDS = {"failed": "failed", "error": "ended in an error", "skipped": "was skipped"}


def _said(diagnostics: tuple[Diagnostic, ...]) -> str:
    return "; ".join(diagnostic.message for diagnostic in diagnostics[:3])
