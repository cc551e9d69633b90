"""Where a step's rollouts come from: sampled and judged by the trainer itself, or by processes of their own.

Both are asked the same and run the same `Sampler`; they differ in who runs it and with which policy version.
`earl.asynchronous` has the other one.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from earl.config import Config
from earl.engine.decode import DecodeEngine
from earl.engine.hf import HfEngine
from earl.hooks import StepInterrupted
from earl.problem_stream import ProblemSource
from earl.rollout import RolloutJudge
from earl.types import Rollout
from hdl_bench.types import Sampling
from verifiers.types import Problem

_ROUND_SEED = 1_000_000_000  # between the sampling seeds of a step's rounds


@dataclass(frozen=True, kw_only=True, slots=True)
class Draw:
    """What to sample: a group of each of these problems. With the weights it decides every completion."""

    problems: tuple[Problem, ...]
    epoch: int
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampled:
    """Judged groups: per problem its rollouts, tool errors included."""

    problems: list[Problem]
    rollouts: list[list[Rollout]]
    sample_s: float  # summed over the processes that sampled
    judge_s: float  # what judging took after the last completion was sampled


class RolloutSource(Protocol):
    """The groups that a step trains on."""

    def first(self, step: int) -> Sampled:
        """The groups of a step (from 1). Raises StepInterrupted when the run is to stop."""
        ...

    def more(self, step: int, number: int, num: int, taken: list[Problem]) -> Sampled:
        """Up to `num` groups of problems that are not in `taken`, for the `number`-th further round of a step."""
        ...

    def publish(self, step: int) -> None:
        """Sample from now on with the policy as it is after `step`."""
        ...

    def metrics(self) -> dict[str, float]:
        """Of the groups since the last call: how stale they were, and who waited."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what a checkpoint holds. Before the first `publish`."""
        ...

    def close(self) -> None: ...


def draw_seed(config: Config, step: int, number: int = 0) -> int:
    """The sampling seed of a step's `number`-th further round; 0 is the step itself."""
    return config.run.seed * 1_000_000 + step + number * _ROUND_SEED


class Sampler:
    """Samples and judges, with the engine and the judge of this process."""

    def __init__(
        self,
        engine: DecodeEngine | HfEngine,
        judge: RolloutJudge,
        config: Config,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self._engine, self._judge, self._config, self._should_stop = engine, judge, config, should_stop

    def update_weights(self, policy_version: int) -> None:
        """The policy's weights are those of this version now."""
        self._engine.update_weights(policy_version)

    def __call__(self, draw: Draw) -> Sampled:
        """A group of rewarded rollouts for each problem. Raises StepInterrupted between stages."""
        config, problems, started = self._config, list(draw.problems), time.perf_counter()
        sampling = Sampling(
            num_samples=config.train.group_size,
            max_tokens=config.sampling.max_tokens,
            temperature=config.sampling.temperature,
            seed=draw.seed,
        )
        # A completion is judged while others are still being sampled.
        completions = self._engine.generate(
            [problem.prompt for problem in problems],
            sampling,
            lambda index, _, completion: self._judge.submit(problems[index], completion, draw.epoch),
        )
        sampled = time.perf_counter()
        self._stop_if_asked()
        rollouts = self._judge(problems, completions, draw.epoch)
        judge_s = time.perf_counter() - sampled
        self._stop_if_asked()
        return Sampled(problems=problems, rollouts=rollouts, sample_s=sampled - started, judge_s=judge_s)

    def _stop_if_asked(self) -> None:
        if self._should_stop():
            raise StepInterrupted


class OwnRollouts:
    """`RolloutSource` in turns: the trainer samples with the weights of the last step. Has no state."""

    def __init__(self, sampler: Sampler, problems: ProblemSource, config: Config) -> None:
        self._sampler, self._problems, self._config = sampler, problems, config

    def first(self, step: int) -> Sampled:
        """See `RolloutSource`."""
        problems, epoch = self._problems.batch(step)
        return self._sampler(Draw(problems=tuple(problems), epoch=epoch, seed=draw_seed(self._config, step)))

    def more(self, step: int, number: int, num: int, taken: list[Problem]) -> Sampled:
        """See `RolloutSource`."""
        problems = self._problems.more(step, number, num, taken)
        if not problems:
            return Sampled(problems=[], rollouts=[], sample_s=0.0, judge_s=0.0)
        seed = draw_seed(self._config, step, number)
        return self._sampler(Draw(problems=tuple(problems), epoch=self._problems.epoch(step), seed=seed))

    def publish(self, step: int) -> None:
        """See `RolloutSource`. The engine reads the trainer's own weights."""
        self._sampler.update_weights(step)

    def metrics(self) -> dict[str, float]:
        """See `RolloutSource`. Nothing is stale and nobody waits for another."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing of it: tasks are there where a forced change took workers away, and are drawn again."""

    def close(self) -> None:
        """Nothing was opened."""
