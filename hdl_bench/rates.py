"""The rates of a score: pass@k by both rules, over all problems and the sound ones, by category, and how rows failed.

A row that we failed to judge (`tool_error`) leaves its problem's n; a problem with no row left leaves the mean, and is
listed. k goes as far as the problem with the fewest rows allows, and no further than 1 where sampling was greedy: equal
answers say nothing about k of them.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from hdl_bench.score import Score, ScoredRow
from hdl_bench.sizes import sizes_of
from hdl_bench.statistics import KS, Estimate, estimate, pass_at_k
from verifiers.formal import FormalOutcome
from verifiers.types import Outcome

_UNPARSED = frozenset({Outcome.NO_CODE, Outcome.SYNTAX_ERROR})
_UNFIT = _UNPARSED | {Outcome.FORBIDDEN_CONSTRUCT, Outcome.INTERFACE_ERROR, Outcome.ELABORATION_ERROR}


@dataclass(frozen=True, kw_only=True, slots=True)
class ProblemCount:
    """The rows of one problem. `num_samples` and `num_passed` are without tool errors; upstream's counts have all rows,
    and are None where there is no upstream."""

    problem_id: str
    category: str
    difficulty: int  # 0: unknown
    is_sound: bool
    num_rows: int
    num_samples: int
    num_passed: int
    num_passed_compatible: int | None

    @property
    def num_tool_errors(self) -> int:
        return self.num_rows - self.num_samples

    @property
    def hardened(self) -> tuple[int, int]:
        """(n, passed) by our rule."""
        return self.num_samples, self.num_passed

    @property
    def compatible(self) -> tuple[int, int]:
        """(n, passed) by upstream's rule."""
        assert self.num_passed_compatible is not None, f"{self.problem_id} has no upstream"
        return self.num_rows, self.num_passed_compatible


def problem_counts(score: Score) -> tuple[ProblemCount, ...]:
    """One count for each sampled problem, in the order in which the rows came."""
    by_problem: dict[str, list[ScoredRow]] = defaultdict(list)
    for row in score.rows:
        by_problem[row.sample.problem_id].append(row)
    return tuple(_count(score, problem_id, rows) for problem_id, rows in by_problem.items())


def _count(score: Score, problem_id: str, rows: list[ScoredRow]) -> ProblemCount:
    problem = score.benchmark.problems[problem_id]
    compatible = [row.compatible.passed for row in rows if row.compatible is not None]
    return ProblemCount(
        problem_id=problem_id,
        category=problem.family,
        difficulty=problem.difficulty,
        is_sound=problem_id not in score.benchmark.errata,
        num_rows=len(rows),
        num_samples=sum(row.verdict.is_scored for row in rows),
        num_passed=sum(row.verdict.passed for row in rows),
        num_passed_compatible=sum(compatible) if len(compatible) == len(rows) else None,
    )


def results_of(score: Score, *, is_greedy: bool = False) -> dict[str, Any]:
    """The section `results` of a results file."""
    counts = problem_counts(score)
    has_upstream = bool(counts) and all(count.num_passed_compatible is not None for count in counts)
    return {
        "hardened": _all_and_sound(counts, lambda chosen: _hardened_block(chosen, is_greedy)),
        "compatible": (
            _all_and_sound(counts, lambda chosen: _compatible_block(chosen, is_greedy)) | _upstream(score, counts)
            if has_upstream
            else None
        ),
        "rates": _rates(score),
        "synthesis": sizes_of(score.rows),
        "by_category": _by(counts, lambda count: count.category, is_greedy),
        "by_difficulty": _by(counts, lambda count: str(count.difficulty) if count.difficulty else "", is_greedy),
        "failures": _failures(score),
        "tool_errors": {
            "num_rows": sum(count.num_tool_errors for count in counts),
            "problems_without_rows": [count.problem_id for count in counts if not count.num_samples],
        },
    }


def document_of(found: Estimate) -> dict[str, Any]:
    """An estimate as JSON-able data."""
    return {"value": found.value, "ci95": [found.low, found.high], "n_problems": found.num_problems}


Block = dict[str, Any]


def _all_and_sound(counts: Sequence[ProblemCount], block: Callable[[Sequence[ProblemCount]], Block]) -> Block:
    return {"all": block(counts), "sound": block([count for count in counts if count.is_sound])}


def _hardened_block(counts: Sequence[ProblemCount], is_greedy: bool) -> Block:
    return _pass_rates([count.hardened for count in counts], _ks([count.num_rows for count in counts], is_greedy))


def _compatible_block(counts: Sequence[ProblemCount], is_greedy: bool) -> Block:
    """By upstream's pass rule, with the unbiased estimator."""
    pairs = [count.compatible for count in counts]
    return _pass_rates(pairs, _ks([num for num, _ in pairs], is_greedy))


def _upstream(score: Score, counts: Sequence[ProblemCount]) -> Block:
    """The figure that upstream's own arithmetic gives, over all problems as they take it."""
    rate = score.benchmark.upstream_rate
    return {"upstream": {"value": rate({count.problem_id: count.compatible for count in counts})}} if rate else {}


def _ks(nums: Sequence[int], is_greedy: bool) -> tuple[int, ...]:
    """The k of pass@k."""
    largest = min(nums, default=0)
    return KS[:1] if is_greedy and largest else tuple(k for k in KS if k <= largest)


def _pass_rates(pairs: Sequence[tuple[int, int]], ks: Sequence[int]) -> Block:
    """pass@k over (n, passed) of each problem; who lost rows to tool errors and has fewer than k left is left out."""
    block: Block = {}
    for k in ks:
        values = [pass_at_k(num, passed, k) for num, passed in pairs if num >= k]
        if values:
            block[f"pass@{k}"] = document_of(estimate(values))
    return block


def _rates(score: Score) -> Block:
    """How far rows came, each rate a mean over problems of the share of their scored rows."""
    rows = [row for row in score.rows if row.verdict.is_scored]
    rates = {
        "syntax": _share(rows, lambda row: row.verdict.outcome not in _UNPARSED),
        "interface": _share(rows, lambda row: row.verdict.outcome not in _UNFIT),
        "function": _share(rows, lambda row: row.verdict.passed),
    }
    if any(row.proof is not None for row in rows):
        rates["formally_equivalent"] = _share(rows, lambda row: row.proof is FormalOutcome.EQUIVALENT)
    return {name: document_of(found) for name, found in rates.items() if found is not None}


def _share(rows: Iterable[ScoredRow], holds: Callable[[ScoredRow], bool]) -> Estimate | None:
    by_problem: dict[str, list[bool]] = defaultdict(list)
    for row in rows:
        by_problem[row.sample.problem_id].append(holds(row))
    values = [sum(held) / len(held) for held in by_problem.values()]
    return estimate(values) if values else None


def _by(counts: Sequence[ProblemCount], key: Callable[[ProblemCount], str], is_greedy: bool) -> Block:
    """The hardened rates of each group, by its name; empty where no problem has one."""
    names = sorted({key(count) for count in counts} - {""})
    return {name: _hardened_block([count for count in counts if key(count) == name], is_greedy) for name in names}


def _failures(score: Score) -> Block:
    """How rows failed: by outcome, within it by the code of the first diagnostic ("" where it has none)."""
    failed: dict[str, Counter[str]] = defaultdict(Counter)
    for row in score.rows:
        verdict = row.verdict
        if not verdict.passed:
            failed[verdict.outcome.value][verdict.diagnostics[0].code if verdict.diagnostics else ""] += 1
    by_size = sorted(failed.items(), key=lambda item: (-item[1].total(), item[0]))
    return {outcome: {"num_rows": codes.total(), "codes": dict(codes.most_common())} for outcome, codes in by_size}
