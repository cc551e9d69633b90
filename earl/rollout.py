"""Completions to judged, rewarded rollouts: the trainer's side of the farm."""

import dataclasses
import random
from concurrent.futures import Future, TimeoutError

from earl.config import RewardConfig
from earl.journal import VerdictJournal, judgement_key
from earl.reward import reward_of
from earl.types import Reward, Rollout
from hdl_bench.types import Completion
from toolchain.errors import DeadlineExceeded
from verifiers.connect import Judge
from verifiers.judgement import Judgement
from verifiers.seeds import EVAL_SEEDS, group_seed
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

    def __init__(self, farm: Judge, journal: VerdictJournal, rewards: RewardConfig, run_seed: int) -> None:
        self._farm, self._journal, self._rewards, self._run_seed = farm, journal, rewards, run_seed
        self._under_way: dict[str, Judgement | Future[Judgement]] = {}

    def submit(self, problem: Problem, completion: Completion, epoch: int) -> None:
        """Start to judge a completion ahead of the call that asks for it. It changes when, not what, is judged."""
        seed = group_seed(self._run_seed, problem.problem_id, epoch)
        key = judgement_key(problem, completion.text, seed)
        if key not in self._under_way:
            self._under_way[key] = self._start(problem, completion.text, seed)

    def __call__(self, problems: list[Problem], completions: list[list[Completion]], epoch: int) -> list[list[Rollout]]:
        """Rollouts in the order of the completions. Raises DeadlineExceeded when the farm does not answer."""
        for problem, group in zip(problems, completions, strict=True):
            for completion in group:
                self.submit(problem, completion, epoch)
        pending, self._under_way = self._under_way, {}
        rollouts = []
        for problem, group in zip(problems, completions, strict=True):
            seed = group_seed(self._run_seed, problem.problem_id, epoch)
            members = []
            for completion in group:
                item = pending[judgement_key(problem, completion.text, seed)]
                judgement = self._finish(problem, completion.text, seed, item)
                members.append(self._rollout(problem, completion, judgement))
            rollouts.append(members)
        return rollouts

    def recheck(self, problem: Problem, rollouts: list[Rollout]) -> list[bool | None]:
        """Whether completions also pass under the published evaluation seeds; None where we failed to tell.

        Nothing of it reaches the reward or the journal: it measures what training does not see.
        """
        pending = [self._farm.submit(problem, rollout.completion.text, EVAL_SEEDS) for rollout in rollouts]
        verdicts = [_wait(problem, item).verdict for item in pending]
        return [verdict.passed if verdict.is_scored else None for verdict in verdicts]

    def _start(self, problem: Problem, text: str, seed: int) -> "Judgement | Future[Judgement]":
        known = self._journal.get(judgement_key(problem, text, seed))
        return known if known is not None else self._farm.submit(problem, text, (seed,))

    def _finish(self, problem: Problem, text: str, seed: int, item: "Judgement | Future[Judgement]") -> Judgement:
        if isinstance(item, Judgement):
            return item
        judgement = _wait(problem, item)
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


def _wait(problem: Problem, item: "Future[Judgement]") -> Judgement:
    try:
        return item.result(timeout=_DEADLINE_S)
    except TimeoutError as error:
        raise DeadlineExceeded(
            f"waited {_DEADLINE_S:.0f} s for the verdict on {problem.problem_id}; see `earl doctor`"
        ) from error
