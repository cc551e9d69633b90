"""The order of examples and the learning rate of supervised training: pure functions of the config and the step."""

import random

from earl.config import Config
from earl.schedules import factor


def plan_batches(num_examples: int, config: Config) -> list[list[int]]:
    """Indices of the examples of every update of a run: each epoch a new order by seed, every example once in it."""
    size = config.sft.batch_size
    batches: list[list[int]] = []
    for epoch in range(config.sft.num_epochs):
        order = list(range(num_examples))
        random.Random(f"{config.run.seed}:sft:{epoch}").shuffle(order)
        batches += [order[start : start + size] for start in range(0, num_examples, size)]
    return batches


def learning_rate_at(step: int, num_steps: int, config: Config) -> float:
    """Linear warm-up over a share of the steps, then as `sft.schedule` says. Steps count from 1."""
    warmup = max(1, round(config.sft.warmup_fraction * num_steps))
    return config.sft.learning_rate * factor(config.sft.schedule, step, num_steps, warmup)
