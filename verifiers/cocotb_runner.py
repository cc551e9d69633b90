"""Which runs a harness's own pytest runner makes: recorded in the sandbox, without a candidate. Pure: runs nothing.

The runner's Python decides (parametrised tests, loops, random parameters), but it never sees a candidate or a result:
our checker makes each recorded run itself, so nothing that a candidate writes or prints can stand for a passed test.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from toolchain.cocotb import CocotbInstall
from toolchain.command import CommandResult, Step
from toolchain.icarus import Ending, ending_of
from verifiers.cocotb_checker import RUN_LIMITS
from verifiers.simulate import describe_ending
from verifiers.types import CocotbOracle

MODULES_VARIABLE = "EARL_TEST_MODULES"  # tells a test module that stands for several which ones, between commas
_SCRIPT = "earl_record_runs.py"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*")
_VALUE = re.compile(r"[-+'\".\w]+")
_PLUSARG = re.compile(r"\+[\w.=+-]+")
_TIME_UNIT = re.compile(r"(1|10|100) ?(s|ms|us|ns|ps)")


class CocotbRun(BaseModel):
    """One build and test: what differs from a plain one. Values are as the simulator's command line takes them."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    top: str
    test_modules: tuple[str, ...]
    simulator: str
    parameters: tuple[tuple[str, str], ...] = ()  # of the top module
    plusargs: tuple[str, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()  # of the tests' environment
    time_unit: str = "1ns"  # of a design that does not say its own

    def __str__(self) -> str:
        words = [f"{name}={value}" for name, value in self.parameters]
        return ", ".join((*words, *self.plusargs)) or "no parameters"


class _Record(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    runs: tuple[CocotbRun, ...]
    faults: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunnerJob:
    """A cocotb oracle with a runner. `nonce` names the file with the record."""

    oracle: CocotbOracle
    top: str
    nonce: str


class RunnerRecorder:
    """Runs a harness's runner under pytest, with a recorder in the place of cocotb's."""

    def __init__(self, *, install: CocotbInstall) -> None:
        self._install = install

    def files(self, job: RunnerJob) -> dict[str, str]:
        script = Path(__file__).with_name("recording_runner.py").read_text(encoding="utf-8")
        return {**dict(job.oracle.files), _SCRIPT: script}

    def steps(self, job: RunnerJob) -> tuple[Step, ...]:
        argv = (str(self._install.python), _SCRIPT, job.oracle.runner, _output(job))
        own = {"PYTHONPATH": ".", "PYTHONNOUSERSITE": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}
        return (Step(argv=argv, limits=RUN_LIMITS, env=dict(job.oracle.variables) | own),)

    def collects(self, job: RunnerJob) -> tuple[str, ...]:
        return (_output(job),)

    def parse(
        self, job: RunnerJob, results: Sequence[CommandResult], outputs: dict[str, str]
    ) -> tuple[CocotbRun, ...] | str:
        """The runs in order, or why we do not make them."""
        ending = ending_of(results[-1])
        if ending is not Ending.CLEAN:
            return f"the runner did not end well: {describe_ending(ending, results[-1]).message}"
        try:
            record = _Record.model_validate_json(outputs.get(_output(job), ""))
        except ValidationError as error:
            return f"the record of the runner's runs cannot be used: {error.errors()[0]['msg']}"
        faults = record.faults or tuple(filter(None, (_fault_of(run, job) for run in record.runs)))
        return faults[0] if faults else record.runs


def _fault_of(run: CocotbRun, job: RunnerJob) -> str:
    """Why a recorded run cannot be made here; "" when it can."""
    names = dict(job.oracle.files)
    if run.top != job.top:
        return f"the runner's top module is {run.top!r}, and the problem's is {job.top!r}"
    if run.simulator != job.oracle.simulator:
        return f"the runner's simulator is {run.simulator!r}, and the problem's is {job.oracle.simulator!r}"
    missing = [module for module in run.test_modules if f"{module.replace('.', '/')}.py" not in names]
    if missing or not run.test_modules:
        return f"the runner's test modules are {run.test_modules}, and not all are among its files"
    odd = [
        f"{name}={value}" for name, value in run.parameters if not (_NAME.fullmatch(name) and _VALUE.fullmatch(value))
    ]
    odd += [word for word in run.plusargs if not _PLUSARG.fullmatch(word)]
    if odd:
        return f"the runner gives {odd[0]!r}, which no simulator here takes"
    is_known = _TIME_UNIT.fullmatch(run.time_unit) and (run.simulator == "icarus" or run.time_unit == "1ns")
    return "" if is_known else f"the runner's time unit is {run.time_unit!r}"


def _output(job: RunnerJob) -> str:
    return f"runs_{job.nonce}.json"


def plain_run(oracle: CocotbOracle, top: str) -> CocotbRun:
    """The one run of an oracle without a runner."""
    return CocotbRun(top=top, test_modules=(), simulator=oracle.simulator)
