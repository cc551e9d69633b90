"""Measures a policy on held-out problems: n samples and one greedy answer each, judged under the published seeds."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from earl.config import Config
from hdl_bench.statistics import bootstrap_interval, pass_at_k
from hdl_bench.types import Completion, GenerationEngine, Sampling
from toolchain.errors import InfrastructureError
from verifiers.connect import Judge
from verifiers.judgement import Judgement
from verifiers.seeds import EVAL_SEEDS
from verifiers.types import Outcome, Problem


@dataclass(frozen=True, kw_only=True, slots=True)
class ProblemScore:
    """How a policy fared on one problem. Tool errors have left the counts."""

    problem_id: str
    family: str
    difficulty: int
    num_samples: int
    num_passed: int
    outcomes: dict[str, int]
    is_greedy_passed: bool | None  # None: a tool error


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """The scores of all problems, and the completions that they came from (one list a problem, greedy last)."""

    scores: tuple[ProblemScore, ...]
    completions: tuple[tuple[Completion, ...], ...]
    judgements: tuple[tuple[Judgement, ...], ...]

    def summary(self) -> dict[str, float | int | list[float]]:
        """Means over problems with 95 % bootstrap intervals; k of pass@k is the number of samples asked for."""
        n = max(score.num_samples for score in self.scores)
        at_1 = [score.num_passed / score.num_samples for score in self.scores]
        full = [score for score in self.scores if score.num_samples >= min(8, n)]
        at_8 = [pass_at_k(score.num_samples, score.num_passed, min(8, n)) for score in full]
        greedy = [float(score.is_greedy_passed) for score in self.scores if score.is_greedy_passed is not None]
        valid = [1 - _num_invalid(score) / score.num_samples for score in self.scores]
        summary: dict[str, float | int | list[float]] = {"num_problems": len(self.scores), "n": n}
        columns = {"pass@1": at_1, "pass@1_greedy": greedy, f"pass@{min(8, n)}": at_8, "valid": valid}
        for name, values in columns.items():
            summary[name] = math.fsum(values) / len(values)
            summary[f"{name}_ci95"] = list(bootstrap_interval(values))
        return summary

    def by_family(self) -> dict[str, dict[str, float | int]]:
        """pass@1 and greedy pass@1 a family."""
        table = {}
        for family in sorted({score.family for score in self.scores}):
            scores = [score for score in self.scores if score.family == family]
            greedy = [float(s.is_greedy_passed) for s in scores if s.is_greedy_passed is not None]
            table[family] = {
                "num_problems": len(scores),
                "pass@1": math.fsum(s.num_passed / s.num_samples for s in scores) / len(scores),
                "pass@1_greedy": math.fsum(greedy) / max(len(greedy), 1),
            }
        return table


_INVALID = (Outcome.NO_CODE, Outcome.SYNTAX_ERROR, Outcome.FORBIDDEN_CONSTRUCT)


def _num_invalid(score: ProblemScore) -> int:
    return sum(score.outcomes.get(outcome.value, 0) for outcome in _INVALID)


def paired_gain(before: Evaluation, after: Evaluation) -> tuple[float, tuple[float, float]]:
    """The gain of sampled pass@1 over the problems of both, and its 95 % interval by paired bootstrap."""
    rates = {score.problem_id: score.num_passed / score.num_samples for score in before.scores}
    differences = [
        score.num_passed / score.num_samples - rates[score.problem_id]
        for score in after.scores
        if score.problem_id in rates
    ]
    return math.fsum(differences) / len(differences), bootstrap_interval(differences)


def evaluate(
    engine: GenerationEngine,
    farm: Judge,
    problems: list[Problem],
    config: Config,
    on_phase: Callable[[str], None] = lambda phase: None,
) -> Evaluation:
    """Sample and judge. `on_phase` hears what is going on.

    Raises:
        InfrastructureError: no sample of some problem could be judged.
    """
    prompts = [problem.prompt for problem in problems]
    tokens = config.sampling.max_tokens
    on_phase(f"sampling {len(problems)} x {config.eval.num_samples}")
    sampled = engine.generate(
        prompts,
        Sampling(
            num_samples=config.eval.num_samples,
            max_tokens=tokens,
            temperature=config.eval.temperature,
            seed=config.eval.seed,
        ),
    )
    on_phase(f"sampling {len(problems)} greedily")
    greedy = engine.generate(prompts, Sampling(max_tokens=tokens, temperature=0.0, seed=config.eval.seed))
    answers = [(*samples, best[0]) for samples, best in zip(sampled, greedy, strict=True)]
    on_phase(f"judging {sum(map(len, answers))} answers")
    jobs = [
        (problem, completion.text, EVAL_SEEDS)
        for problem, row in zip(problems, answers, strict=True)
        for completion in row
    ]
    judged = farm.judge_all(jobs)
    width = config.eval.num_samples + 1
    judgements = [tuple(judged[start : start + width]) for start in range(0, len(judged), width)]
    scores = [_score(problem, row) for problem, row in zip(problems, judgements, strict=True)]
    return Evaluation(scores=tuple(scores), completions=tuple(answers), judgements=tuple(judgements))


def _score(problem: Problem, judgements: tuple[Judgement, ...]) -> ProblemScore:
    *samples, greedy = (judgement.verdict for judgement in judgements)
    scored = [verdict for verdict in samples if verdict.is_scored]
    if not scored:
        reason = samples[0].diagnostics[0].message if samples[0].diagnostics else "no reason given"
        raise InfrastructureError(f"no sample of {problem.problem_id} could be judged: {reason}; see `earl doctor`")
    return ProblemScore(
        problem_id=problem.problem_id,
        family=problem.family,
        difficulty=problem.difficulty,
        num_samples=len(scored),
        num_passed=sum(verdict.passed for verdict in scored),
        outcomes=dict(Counter(verdict.outcome.value for verdict in samples)),
        is_greedy_passed=greedy.passed if greedy.is_scored else None,
    )
