"""What a benchmark gives to the scorer: problems, preparation of completions, upstream's way to judge, errata."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from hdl_bench.compatible import CompatibleJob
from hdl_bench.errata import Erratum
from verifiers.types import Problem, TestbenchOracle


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredBenchmark:
    """A benchmark that completions can be scored on. Problems, errata and functions go by `problem_id`."""

    name: str
    problems: dict[str, Problem]
    # (problem_id, completion) -> the completion as our judge is to read it
    prepare: Callable[[str, str], str]
    # (problem_id, completion) -> how upstream would run it; None where there is no upstream
    compatible: Callable[[str, str], CompatibleJob] | None = None
    # problem_id -> (rows, rows that pass by upstream's rule), to the rate that upstream's own scripts would print; None
    # where they print an unbiased pass@k
    upstream_rate: Callable[[Mapping[str, tuple[int, int]]], float] | None = None
    errata: dict[str, Erratum] = field(default_factory=dict)

    @property
    def has_stock_testbenches(self) -> bool:
        """Whether some problem is judged by a testbench that is not ours."""
        return any(isinstance(problem.oracle, TestbenchOracle) for problem in self.problems.values())
