"""How much a run will do: prompts, completions, tokens, micro-batches, updates."""

import math
from dataclasses import dataclass

from earl.config import Config
from earl.forward import Sequences, micro_batches


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """Completions are counted at their longest, `sampling.max_tokens`, and groups that no filter drops."""

    num_prompts: int  # a step; further rounds of sampling, if any, come on top
    num_samples: int  # completions of each
    largest_draw: int  # prompts that one process samples together
    num_updates: int  # a step
    num_micro_batches: int  # an update
    num_groups_together: int  # in the largest micro-batch
    prompt_tokens: int  # of the longest prompt
    mean_prompt_tokens: float
    completion_tokens: int  # of one completion, at most
    sampled_tokens: int  # a step, at most
    trained_positions: int  # a step, at most: a group's prompt once, and its responses
    largest_micro_batch: int  # positions
    num_steps: int
    num_problems: int  # in the set
    sft_steps: int  # of the warm start, if it is run
    distil_completions: int  # that self-distillation samples, if it is run

    @property
    def num_completions(self) -> int:
        return self.num_prompts * self.num_samples

    @property
    def num_epochs(self) -> float:
        return self.num_steps * self.num_prompts / self.num_problems


def count_work(config: Config, prompt_lengths: list[int]) -> Work:
    """`prompt_lengths`: tokens of each problem's prompt, not empty."""
    train, length = config.train, config.sampling.max_tokens
    longest = max(prompt_lengths)
    group = Sequences(prompt=range(longest), responses=(range(length),) * train.group_size).num_positions
    of_update = train.num_problems // train.num_minibatches
    batches = micro_batches([group] * of_update, train.micro_batch_tokens)
    num_together = max(map(len, batches))
    num_examples, rollout = config.sft.num_examples, config.rollout
    num_draws = train.num_problems if rollout.schedule == "free" else rollout.num_workers
    return Work(
        num_prompts=train.num_problems,
        num_samples=train.group_size,
        largest_draw=math.ceil(train.num_problems / num_draws) if rollout.num_workers else train.num_problems,
        num_updates=train.num_minibatches,
        num_micro_batches=len(batches),
        num_groups_together=num_together,
        prompt_tokens=longest,
        mean_prompt_tokens=sum(prompt_lengths) / len(prompt_lengths),
        completion_tokens=length,
        sampled_tokens=train.num_problems * train.group_size * length,
        trained_positions=group * train.num_problems,
        largest_micro_batch=group * num_together,
        num_steps=train.num_steps,
        num_problems=len(prompt_lengths),
        sft_steps=config.sft.num_epochs * math.ceil(num_examples / config.sft.batch_size),
        distil_completions=len(prompt_lengths) * config.distil.num_samples,
    )
