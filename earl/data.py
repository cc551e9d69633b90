"""Which problems, in which order: pure functions of config, seed and step, so that a resumed run needs no cursor."""

import random
from dataclasses import dataclass

from earl.config import Config
from hdl_bench.procedural.problems import make_problems
from toolchain.errors import UsageError
from verifiers.types import Problem


@dataclass(frozen=True, kw_only=True, slots=True)
class ProblemStream:
    """Endless batches of problems: every epoch a new order, no problem twice in one batch or epoch."""

    problems: tuple[Problem, ...]
    batch_size: int
    seed: int

    def __post_init__(self) -> None:
        if len(self.problems) < self.batch_size:
            raise UsageError(
                f"a step takes {self.batch_size} problems and the set has {len(self.problems)};"
                " raise problems.num_problems or lower train.num_problems"
            )

    def batch(self, step: int) -> tuple[list[Problem], int]:
        """The problems of a step (from 1) and the epoch they belong to."""
        per_epoch = len(self.problems) // self.batch_size
        epoch, position = divmod(step - 1, per_epoch)
        order = list(self.problems)
        random.Random(f"{self.seed}:{epoch}").shuffle(order)
        start = position * self.batch_size
        return order[start : start + self.batch_size], epoch


def training_problems(config: Config) -> list[Problem]:
    """The RL problems of a config: the training split."""
    chosen = config.problems
    return make_problems(
        families=chosen.families or None,
        levels=chosen.levels,
        split="train",
        num_problems=chosen.num_problems,
        seed=config.run.seed,
        exclude_families=chosen.exclude_families,
    )


def warm_start_problems(config: Config) -> list[Problem]:
    """The problems of the warm start: the training split too, another draw than the RL problems'."""
    chosen = config.problems
    return make_problems(
        families=chosen.families or None,
        levels=chosen.levels,
        split="train",
        num_problems=config.sft.num_examples,
        seed=config.run.seed + 1_000_003,
        exclude_families=chosen.exclude_families,
    )


def evaluation_problems(config: Config) -> list[Problem]:
    """The held-out problems of a config: parameters that no training problem has."""
    return make_problems(
        families=config.eval.families or config.problems.families or None,
        levels=config.eval.levels or config.problems.levels,
        split="heldout",
        num_problems=config.eval.num_problems,
        seed=config.eval.seed,
        exclude_families=() if config.eval.families else config.problems.exclude_families,
    )
