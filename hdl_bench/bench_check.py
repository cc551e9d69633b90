"""What the testbenches of a benchmark notice: goldens, empty modules, mutants and cheats run through a checkout.

Each problem is tried three ways: hardened, as `earl score` judges; by its own testbench alone, hardened but without
ours beside it (mutants); and by upstream's rule as it stands (golden, empty module, cheats). The differences are what
the benchmark's author wants to know. The checks themselves are those of `verifiers.oracle_gate`.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hdl_bench.compatible import Answer, CompatibleResult
from hdl_bench.errata import Erratum
from hdl_bench.score import Upstream
from hdl_bench.scored import ScoredBenchmark
from toolchain.errors import EarlError
from verifiers.cheats import EMPTY_MODULE, Cheat, empty_module
from verifiers.golden_check import golden_of
from verifiers.interface import ports_of
from verifiers.lexer import rename_identifier
from verifiers.oracle_gate import JudgingFarm, OracleGate
from verifiers.problem_check import MIN_SCORE, ProblemCheck
from verifiers.seeds import EVAL_SEEDS
from verifiers.types import Outcome, Problem


@dataclass(frozen=True, kw_only=True, slots=True)
class UpstreamCheck:
    """What upstream's rule says, in its own letters. `cheats` are those of the gate, in order."""

    golden: CompatibleResult
    empty: CompatibleResult
    cheats: tuple[tuple[Cheat, CompatibleResult], ...]  # without constants that are the golden

    @property
    def passing_cheats(self) -> tuple[Cheat, ...]:
        return tuple(cheat for cheat, result in self.cheats if result.passed)


@dataclass(frozen=True, kw_only=True, slots=True)
class BenchCheck:
    """One problem of a checkout. `golden` and `empty` are hardened outcomes; None where nothing could be tried."""

    check: ProblemCheck
    golden: Outcome | None
    empty: Outcome | None
    upstream: UpstreamCheck | None
    erratum: Erratum | None

    @property
    def problem_id(self) -> str:
        return self.check.problem_id

    @property
    def weakness(self) -> float:
        """The worst score of the problem's own testbench, to sort by; 2 where it cannot be said."""
        scores = (self.check.testbench_score, self.check.mutation_score)
        return min((score for score in scores if score is not None), default=2.0)

    @property
    def faults(self) -> tuple[str, ...]:
        """What an author should look at, in words; none for a testbench that notices what it should. Forgeries that
        pass are left out: they deceive the rule, not this testbench."""
        found = [*self.check.failures, *self.check.reasons]
        alone = self.check.testbench_score
        if alone is not None and alone < MIN_SCORE and not self.check.has_few_mutants:
            found.append(f"the testbench alone fails {alone:.0%} of the mutants")
        if self.upstream is not None:
            if not self.upstream.golden.passed:
                found.append(f"the golden fails by upstream's rule ({self.upstream.golden.letter})")
            idle = [cheat.name for cheat in self.upstream.passing_cheats if not cheat.is_forgery]
            found += [f"{name} passes by upstream's rule" for name in idle]
        return tuple(found)


def check_benchmark(
    benchmark: ScoredBenchmark,
    problems: Iterable[Problem],
    *,
    gate: OracleGate,
    farm: JudgingFarm,
    upstream: Upstream | None,
) -> Iterator[BenchCheck]:
    """The checks of these problems of a benchmark, in order."""
    by_id = {problem.problem_id: problem for problem in problems}
    for check in gate.check(by_id.values()):
        problem = by_id[check.problem_id]
        tried = {x.cheat.name: x for x in check.cheats}
        empty = tried[EMPTY_MODULE].outcome if tried else _judge_empty(problem, farm)
        yield BenchCheck(
            check=check,
            golden=check.golden_outcome,
            empty=empty,
            upstream=_by_upstream(benchmark, problem, check, upstream),
            erratum=benchmark.errata.get(problem.problem_id),
        )


def _judge_empty(problem: Problem, farm: JudgingFarm) -> Outcome | None:
    """The empty module's outcome where the gate went no further than the golden."""
    empty = _empty_of(problem)
    return farm.submit(problem, empty.text, EVAL_SEEDS).result().verdict.outcome if empty else None


def _empty_of(problem: Problem) -> Cheat | None:
    """None where the golden's ports cannot be read."""
    try:
        return empty_module(problem.top_module, ports_of(*golden_of(problem)))
    except EarlError:
        return None


def _by_upstream(
    benchmark: ScoredBenchmark, problem: Problem, check: ProblemCheck, upstream: Upstream | None
) -> UpstreamCheck | None:
    empty = _empty_of(problem)
    if upstream is None or benchmark.compatible is None or empty is None:
        return None
    golden, golden_top = golden_of(problem)
    cheats = [x.cheat for x in check.cheats if x.cheat.name not in check.equivalent_cheats] or [empty]
    texts = [rename_identifier(golden, golden_top, problem.top_module), *(cheat.text for cheat in cheats)]
    answers = [Answer(problem_id=problem.problem_id, completion=text) for text in texts]
    golden_result, *results = upstream.run_all(benchmark.compatible, answers, _quietly)
    named = {cheat.name: result for cheat, result in zip(cheats, results, strict=True)}
    return UpstreamCheck(
        golden=golden_result, empty=named[EMPTY_MODULE], cheats=tuple(zip(cheats, results, strict=True))
    )


def _quietly(num_done: int, num_all: int) -> None:
    """A golden and ten cheats are no wait to tell of."""
