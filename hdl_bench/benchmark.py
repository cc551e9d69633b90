"""The `Benchmark` seam: anything that yields problems."""

from collections.abc import Iterable
from typing import Protocol

from verifiers.types import Problem


class Benchmark(Protocol):
    """A named set of problems."""

    name: str

    def problems(self) -> Iterable[Problem]: ...
