"""Which verified completions a model learns from: the best of each problem, none twice."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from earl.types import Reward
from hdl_bench.structure import canonical_form
from verifiers.judgement import Judgement
from verifiers.types import Problem


@dataclass(frozen=True, kw_only=True, slots=True)
class Attempt:
    """A judged completion of a problem."""

    problem: Problem
    sample_idx: int
    text: str
    num_tokens: int
    finish_reason: str
    sampling_seed: int
    stimulus_seeds: tuple[int, ...]
    judgement: Judgement
    reward: Reward | None  # None: the verdict is a tool error, which is never scored

    @property
    def is_pass(self) -> bool:
        return self.judgement.verdict.passed


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """An attempt to learn from, and the digest of its design's structure."""

    attempt: Attempt
    structure: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """What was kept of all attempts, in the problems' order and the best first, and what became of the others."""

    kept: tuple[Kept, ...]
    num_problems: int
    num_solved: int  # problems with a pass
    num_samples: int
    num_unscored: int
    num_passed: int
    num_cut: int  # passes that the length limit ended: they never say when to stop
    num_duplicates: int  # passes whose design has the structure of a better one for the same prompt
    num_surplus: int  # passes beyond `distil.keep`


def select(attempts: Iterable[Attempt], *, keep: int) -> Selection:
    """At most `keep` passes a problem: by reward, then the shorter, then the first, of distinct structure.

    Equal structure is equality up to names, comments, white space and order (`hdl_bench.structure`), for equal prompts.
    """
    attempts = list(attempts)
    by_problem: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        by_problem.setdefault(attempt.problem.problem_id, []).append(attempt)
    kept: list[Kept] = []
    seen: set[tuple[str, str]] = set()
    num_duplicates = num_surplus = 0
    for members in by_problem.values():
        num_kept = 0
        for attempt in sorted((a for a in members if a.is_pass and a.finish_reason == "stop"), key=_rank):
            structure = structure_of(attempt)
            if (attempt.problem.prompt, structure) in seen:
                num_duplicates += 1
                continue
            seen.add((attempt.problem.prompt, structure))
            if num_kept == keep:
                num_surplus += 1
                continue
            kept.append(Kept(attempt=attempt, structure=structure))
            num_kept += 1
    passes = [attempt for attempt in attempts if attempt.is_pass]
    return Selection(
        kept=tuple(kept),
        num_problems=len(by_problem),
        num_solved=len({attempt.problem.problem_id for attempt in passes}),
        num_samples=len(attempts),
        num_unscored=sum(attempt.reward is None for attempt in attempts),
        num_passed=len(passes),
        num_cut=sum(attempt.finish_reason != "stop" for attempt in passes),
        num_duplicates=num_duplicates,
        num_surplus=num_surplus,
    )


def _rank(attempt: Attempt) -> tuple[float, int, int]:
    assert attempt.reward is not None, attempt
    return -attempt.reward.value, attempt.num_tokens, attempt.sample_idx


def structure_of(attempt: Attempt) -> str:
    """Hex digest of a passing design's canonical form; of its text where it is too long for one.

    It is parsed in this process: a worker parsed the same text before it passed.
    """
    candidate = attempt.judgement.candidate
    assert candidate is not None, f"a pass of {attempt.problem.problem_id} without a candidate"
    return canonical_form(candidate.text) or hashlib.sha256(candidate.text.encode()).hexdigest()
