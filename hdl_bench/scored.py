"""What a benchmark gives to the scorer: problems, preparation of completions, upstream's way to judge, errata."""

from collections.abc import Callable
from dataclasses import dataclass, field

from hdl_bench.compatible import CompatibleRule, Rate
from hdl_bench.errata import REFUSALS, Erratum
from toolchain.errors import UsageError
from verifiers.cocotb_judge import FULL_RUNGS
from verifiers.types import CocotbOracle, Problem, TestbenchOracle


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredBenchmark:
    """A benchmark that completions can be scored on. Problems, errata and functions go by `problem_id`."""

    name: str
    problems: dict[str, Problem]
    # (problem_id, completion) -> the completion as our judge is to read it
    prepare: Callable[[str, str], str]
    compatible: CompatibleRule | None = None  # None where there is no upstream
    upstream_rate: Rate | None = None
    errata: dict[str, Erratum] = field(default_factory=dict)

    @property
    def has_stock_testbenches(self) -> bool:
        """Whether some problem is judged by a testbench that is not ours."""
        return any(isinstance(problem.oracle, TestbenchOracle) for problem in self.problems.values())

    @property
    def refused(self) -> str:
        """How many problems are not run here, which ones and why, a line each; "" for none."""
        notes = [f"{name}: {erratum.note}" for name, erratum in self.errata.items() if REFUSALS & set(erratum.kinds)]
        head = f"{self.name}: {len(notes)} of {len(self.problems)} problems are not run here"
        return "\n  ".join((head, *notes)) if notes else ""

    def require_isolation(self, rung: str) -> None:
        """Raise UsageError where a problem's tests are Python that is not trusted, and the rung is not a full one."""
        oracles = ((name, problem.oracle) for name, problem in self.problems.items())
        strangers = [name for name, oracle in oracles if isinstance(oracle, CocotbOracle) and not oracle.is_trusted]
        if strangers and rung not in FULL_RUNGS:
            raise UsageError(
                f"{self.name} judges by Python that is not trusted ({strangers[0]}), and the isolation here is {rung}; "
                f"it runs under {' or '.join(sorted(FULL_RUNGS))} only. Install bubblewrap (`earl doctor` shows why it "
                "does not work), or judge by a service that has it."
            )
