"""A farm without simulators for tests of the trainer: the verdict is a function of the completion's text."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future

from verifiers.connect import judge_all
from verifiers.farm_stats import FarmStats, Tally
from verifiers.judgement import Judgement
from verifiers.types import Candidate, Outcome, OutputScore, Problem, Stage, Verdict


class FakeFarm:
    """Answers at once with `outcome_of(text)`; counts what it was asked. A pass has its whole text for candidate."""

    isolation = "rlimits"

    def __init__(self, outcome_of: Callable[[str], Outcome]) -> None:
        self._outcome_of = outcome_of
        self.num_submitted = 0
        self._tally = Tally()

    def submit(self, problem: Problem, text: str, seeds: tuple[int, ...]) -> "Future[Judgement]":
        self.num_submitted += 1
        outcome = self._outcome_of(text)
        output = OutputScore(name="y", num_samples=10, num_mismatches=len(text) % 10, constant_fraction=0.1)
        verdict = Verdict(outcome=outcome, stage=Stage.COMPARE, seed=seeds[0], outputs=(output,))
        self._tally.judged(problem.problem_id, verdict)
        future: Future[Judgement] = Future()
        candidate = Candidate(text=text) if verdict.passed else None
        future.set_result(Judgement(candidate=candidate, verdict=verdict))
        return future

    def judge_all(self, jobs: Iterable[tuple[Problem, str, tuple[int, ...]]]) -> list[Judgement]:
        return judge_all(self, jobs, None)

    def stats(self) -> FarmStats:
        return self._tally.fill_in(FarmStats(num_workers=1, num_queued=0, num_running=0, max_queued=1))
