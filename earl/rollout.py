"""Completions to judged, rewarded rollouts: the trainer's side of the farm."""

import dataclasses
import random
from concurrent.futures import Future
from contextlib import suppress

from earl.config import RewardConfig
from earl.farm_wait import Patience
from earl.journal import JournaledJudge, VerdictJournal
from earl.reward import reward_of
from earl.types import Reward, Rollout
from hdl_bench.types import Completion
from toolchain.errors import InfrastructureError
from verifiers.connect import Judge
from verifiers.judgement import Judgement
from verifiers.seeds import EVAL_SEEDS, group_seed
from verifiers.types import Problem

_NONE = Patience()
_DEADLINE_S = 600.0  # for one verdict after the one before; the farm's own limits per job are far shorter


def shuffle_rewards(rollouts: list[list[Rollout]], seed: int) -> list[list[Rollout]]:
    """The same rollouts with the rewards of the scored ones dealt out anew: a control that holds no information."""
    rewards = [rollout.reward for group in rollouts for rollout in group if rollout.reward is not None]
    random.Random(f"shuffled:{seed}").shuffle(rewards)
    dealt = iter(rewards)
    return [
        [rollout if rollout.reward is None else dataclasses.replace(rollout, reward=next(dealt)) for rollout in group]
        for group in rollouts
    ]


def random_rewards(rollouts: list[list[Rollout]], seed: int) -> list[list[Rollout]]:
    """The same rollouts with a fair coin, 0 or 1, for the reward of each scored one: a control (arXiv 2512.16912)."""
    rng = random.Random(f"random:{seed}")

    def toss(rollout: Rollout) -> Rollout:
        value = float(rng.getrandbits(1))
        return dataclasses.replace(rollout, reward=Reward(value=value, parts={"coin": value}))

    return [[rollout if rollout.reward is None else toss(rollout) for rollout in group] for group in rollouts]


CONTROLS = {"shuffled": shuffle_rewards, "random": random_rewards}


class RolloutJudge:
    """Judges the completions of a step: all of a group under one seed, finished verdicts reused from the journal."""

    def __init__(
        self, farm: Judge, journal: VerdictJournal, rewards: RewardConfig, run_seed: int, patience: Patience = _NONE
    ) -> None:
        self._farm, self._rewards, self._run_seed, self._patience = farm, rewards, run_seed, patience
        self._journaled = JournaledJudge(farm, journal)
        self._under_way: dict[tuple[Problem, str, int], Future[Judgement]] = {}

    def take_reused(self) -> int:
        """How many verdicts the journal knew since the last call."""
        num_reused, self._journaled.num_reused = self._journaled.num_reused, 0
        return num_reused

    def submit(self, problem: Problem, completion: Completion, epoch: int) -> None:
        """Start to judge a completion ahead of the call that asks for it. It changes when, not what, is judged."""
        with suppress(InfrastructureError):  # the call will ask again, and knows how to wait
            self._start(problem, completion, epoch)

    def __call__(self, problems: list[Problem], completions: list[list[Completion]], epoch: int) -> list[list[Rollout]]:
        """Rollouts in the order of the completions.

        Raises:
            FarmLost: the judge does not answer, or with nothing but tool errors, for longer than the patience.
            StepInterrupted: the run was asked to stop while it waited.
        """
        return self._patience.insist(lambda: self._ask(problems, completions, epoch))

    def recheck(self, problem: Problem, rollouts: list[Rollout]) -> list[bool | None]:
        """Whether completions also pass under the published evaluation seeds; None where we failed to tell.

        Nothing of it reaches the reward or the journal: it measures what training does not see.
        """
        try:
            pending = [self._farm.submit(problem, rollout.completion.text, EVAL_SEEDS) for rollout in rollouts]
            verdicts = [self._wait(problem, item).verdict for item in pending]
        except InfrastructureError as error:
            self._patience.hooks.warn(f"passes could not be judged again: {error}")
            return [None for _ in rollouts]
        return [verdict.passed if verdict.is_scored else None for verdict in verdicts]

    def _ask(self, problems: list[Problem], completions: list[list[Completion]], epoch: int) -> list[list[Rollout]]:
        try:
            for problem, group in zip(problems, completions, strict=True):
                for completion in group:
                    self._start(problem, completion, epoch)
            return [
                [self._rollout(problem, completion, self._finish(problem, completion, epoch)) for completion in group]
                for problem, group in zip(problems, completions, strict=True)
            ]
        finally:
            self._under_way = {}

    def _key(self, problem: Problem, completion: Completion, epoch: int) -> tuple[Problem, str, int]:
        return problem, completion.text, group_seed(self._run_seed, problem.problem_id, epoch)

    def _start(self, problem: Problem, completion: Completion, epoch: int) -> None:
        key = self._key(problem, completion, epoch)
        if key not in self._under_way:
            self._under_way[key] = self._journaled.submit(problem, completion.text, (key[2],))

    def _finish(self, problem: Problem, completion: Completion, epoch: int) -> Judgement:
        return self._wait(problem, self._under_way[self._key(problem, completion, epoch)])

    def _wait(self, problem: Problem, future: "Future[Judgement]") -> Judgement:
        deadline_s = min(_DEADLINE_S, self._patience.limit_s or _DEADLINE_S)
        return self._patience.result(future, f"the verdict on {problem.problem_id}", deadline_s=deadline_s)

    def _rollout(self, problem: Problem, completion: Completion, judgement: Judgement) -> Rollout:
        verdict = judgement.verdict
        return Rollout(
            problem_id=problem.problem_id,
            completion=completion,
            candidate=judgement.candidate,
            verdict=verdict,
            reward=reward_of(verdict, self._rewards) if verdict.is_scored else None,
        )
