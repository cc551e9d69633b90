"""The seam of all tools that judge: a checker is pure, `run_check` runs it.

A checker says which files a folder must hold and which commands to run there, and reads what they said. It starts no
process and touches no file, so captured logs test it where the tool is not installed.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from toolchain.command import Command, CommandResult, Limits
from toolchain.executor import Executor

Job_contra = TypeVar("Job_contra", contravariant=True)
Finding_co = TypeVar("Finding_co", covariant=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """One command of a check. It runs in the job's folder; argv names files relative to that."""

    argv: tuple[str, ...]
    limits: Limits
    env: dict[str, str] = field(default_factory=dict)


class Checker(Protocol[Job_contra, Finding_co]):
    """One way to judge a job, or a part of one. What a finding is, the checker's module says."""

    def files(self, job: Job_contra) -> dict[str, str]:
        """The folder's files before the first step: relative name -> text."""
        ...

    def steps(self, job: Job_contra) -> tuple[Step, ...]:
        """The commands, in order. A step that does not exit with 0 is the last that runs."""
        ...

    def parse(self, job: Job_contra, results: Sequence[CommandResult], outputs: dict[str, str]) -> Finding_co:
        """What the results of the steps that ran mean. `outputs` are the texts of the files of `collects`."""
        ...

    def collects(self, job: Job_contra) -> tuple[str, ...]:
        """Names of the files to read back when the steps have run (a report, say); those not written are left out."""
        ...


def run_check(
    checker: Checker[Job_contra, Finding_co], job: Job_contra, executor: Executor, *, scratch: Path | None = None
) -> Finding_co:
    """Run a checker in a fresh folder, which is removed afterwards. Raises InfrastructureError as the executor does."""
    with tempfile.TemporaryDirectory(prefix="earl-job-", dir=scratch) as name:
        folder = Path(name)
        for file_name, text in checker.files(job).items():
            path = folder / file_name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", errors="replace")
        results = []
        for step in checker.steps(job):
            results.append(executor.run(Command(argv=step.argv, cwd=folder, env=step.env, limits=step.limits)))
            if results[-1].returncode != 0 or results[-1].is_timed_out or results[-1].is_output_truncated:
                break
        return checker.parse(job, results, _read_back(folder, checker.collects(job)))


def _read_back(folder: Path, names: tuple[str, ...]) -> dict[str, str]:
    """The texts of the files that are there. The folder was the candidate's to write in: no link is followed."""
    paths = {name: folder / name for name in names}
    return {
        name: path.read_text(encoding="utf-8", errors="replace")
        for name, path in paths.items()
        if path.is_file() and not path.is_symlink()
    }
