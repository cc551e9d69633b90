"""Completions to judged, rewarded rollouts: the trainer's side of the farm."""

import dataclasses
import random
from concurrent.futures import Future, TimeoutError

from earl.config import RewardConfig
from earl.journal import VerdictJournal, judgement_key
from earl.reward import reward_of
from earl.types import Rollout
from hdl_bench.types import Completion
from toolchain.errors import DeadlineExceeded
from verifiers.connect import Judge
from verifiers.judgement import Judgement
from verifiers.seeds import group_seed
from verifiers.types import Problem

_DEADLINE_S = 600.0  # for all verdicts of one step; the farm's own limits per job are far shorter


def shuffle_rewards(rollouts: list[list[Rollout]], seed: int) -> list[list[Rollout]]:
    """The same rollouts with the rewards of the scored ones dealt out anew: a control that holds no information."""
    rewards = [rollout.reward for group in rollouts for rollout in group if rollout.reward is not None]
    random.Random(f"shuffled:{seed}").shuffle(rewards)
    dealt = iter(rewards)
    return [
        [rollout if rollout.reward is None else dataclasses.replace(rollout, reward=next(dealt)) for rollout in group]
        for group in rollouts
    ]


class RolloutJudge:
    """Judges the completions of a step: all of a group under one seed, finished verdicts reused from the journal."""

    def __init__(self, farm: Judge, journal: VerdictJournal, rewards: RewardConfig, run_seed: int) -> None:
        self._farm, self._journal, self._rewards, self._run_seed = farm, journal, rewards, run_seed

    def __call__(self, problems: list[Problem], completions: list[list[Completion]], epoch: int) -> list[list[Rollout]]:
        """Rollouts in the order of the completions. Raises DeadlineExceeded when the farm does not answer."""
        pending: list[list[Judgement | Future[Judgement]]] = []
        for problem, group in zip(problems, completions, strict=True):
            seed = group_seed(self._run_seed, problem.problem_id, epoch)
            pending.append([self._start(problem, completion.text, seed) for completion in group])
        rollouts = []
        for problem, group, row in zip(problems, completions, pending, strict=True):
            seed = group_seed(self._run_seed, problem.problem_id, epoch)
            members = []
            for completion, item in zip(group, row, strict=True):
                judgement = self._finish(problem, completion.text, seed, item)
                members.append(self._rollout(problem, completion, judgement))
            rollouts.append(members)
        return rollouts

    def _start(self, problem: Problem, text: str, seed: int) -> "Judgement | Future[Judgement]":
        known = self._journal.get(judgement_key(problem, text, seed))
        return known if known is not None else self._farm.submit(problem, text, (seed,))

    def _finish(self, problem: Problem, text: str, seed: int, item: "Judgement | Future[Judgement]") -> Judgement:
        if isinstance(item, Judgement):
            return item
        try:
            judgement = item.result(timeout=_DEADLINE_S)
        except TimeoutError as error:
            raise DeadlineExceeded(
                f"waited {_DEADLINE_S:.0f} s for the verdict on {problem.problem_id}; see `earl doctor`"
            ) from error
        self._journal.put(judgement_key(problem, text, seed), judgement)
        return judgement

    def _rollout(self, problem: Problem, completion: Completion, judgement: Judgement) -> Rollout:
        verdict = judgement.verdict
        return Rollout(
            problem_id=problem.problem_id,
            completion=completion,
            candidate=judgement.candidate,
            verdict=verdict,
            reward=reward_of(verdict, self._rewards) if verdict.is_scored else None,
        )
