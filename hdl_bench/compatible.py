"""The seam of upstream's rules: how a benchmark's own scripts judge a completion, one module a benchmark.

For comparison with published figures only: a candidate that prints the result line passes most of them. They run under
our sandbox and limits. A time limit of upstream's is one of CPU time here: a simulation waits for nothing, and a busy
machine is not the candidate's fault.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolchain.command import CommandResult, Limits
from toolchain.icarus import Ending, ending_of
from verifiers.checker import Checker

PASS = "."
_BUSY = 10  # how much slower a busy machine may be before a run is given up
COMPILE_LIMITS = Limits(cpu_s=30, wall_s=30 * _BUSY, memory_bytes=2 << 30, output_bytes=4 << 20)
# {problem_id: (rows, passed rows)} -> the figure that upstream's own arithmetic gives
Rate = Callable[[Mapping[str, tuple[int, int]]], float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A completion of a problem. `is_extracted`: it is a file that upstream's scripts took out of an answer already."""

    problem_id: str
    completion: str
    is_extracted: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class CompatibleResult:
    """Upstream's verdict: PASS or another of the rule's letters, and what the letter means."""

    letter: str
    meaning: str

    @property
    def passed(self) -> bool:
        return self.letter == PASS


@dataclass(frozen=True, kw_only=True, slots=True)
class CompatibleRule:
    """Upstream's way to judge. `checker` is made with the paths of `iverilog` and `vvp`, and its finding is a key of
    `letters`, which tell what they mean; `job` is what it runs for an answer, equal ones once."""

    letters: Mapping[str, str]
    checker: Callable[[str, str], Checker[Any, str]]
    job: Callable[[Answer], Hashable]

    def result(self, letter: str) -> CompatibleResult:
        """The result with that letter."""
        return CompatibleResult(letter=letter, meaning=self.letters[letter])


def run_limits(seconds: int) -> Limits:
    """The limits of a simulation that upstream ends after so many seconds."""
    return Limits(cpu_s=seconds, wall_s=seconds * _BUSY, memory_bytes=2 << 30, output_bytes=32 << 20)


def is_late(results: Sequence[CommandResult]) -> bool:
    """Whether a command ran out of time."""
    return any(ending_of(result) is Ending.TIME_LIMIT for result in results)
