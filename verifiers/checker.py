"""The seam of all tools that judge: a checker is pure, `run_check` runs it.

A checker says which files a folder must hold and which commands to run there, and reads what they said. It starts no
process and touches no file, so captured logs test it where the tool is not installed.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from toolchain.command import CommandResult, FolderJob, Step
from toolchain.executor import Executor

Job_contra = TypeVar("Job_contra", contravariant=True)
Finding_co = TypeVar("Finding_co", covariant=True)


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


def run_check(checker: Checker[Job_contra, Finding_co], job: Job_contra, executor: Executor) -> Finding_co:
    """Run a checker in a fresh folder, which is removed afterwards. Raises InfrastructureError as the executor does."""
    done = executor.run_job(
        FolderJob(files=checker.files(job), steps=checker.steps(job), collects=checker.collects(job))
    )
    return checker.parse(job, done.results, done.outputs)
