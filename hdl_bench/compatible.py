"""The seam of upstream's rules: how a benchmark's own scripts judge a completion, one module a benchmark.

For comparison with published figures only: a candidate that prints the result line passes most of them. They run under
our sandbox and limits.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from verifiers.checker import Checker

PASS = "."
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
