"""Rollout groups to a `TokenBatch`: advantages, token classes, everything packed end to end."""

import torch

from earl.advantage import ADVANTAGES
from earl.config import AdvantageConfig
from earl.policy import PromptEncoder
from earl.token_class import token_classes
from earl.types import Rollout, RolloutGroup, TokenBatch
from toolchain.errors import UsageError
from verifiers.types import Problem


def group_rollouts(problems: list[Problem], rollouts: list[list[Rollout]]) -> list[RolloutGroup]:
    """Groups of scored rollouts. A tool error leaves its group; a group with fewer than two left is dropped."""
    groups = []
    for problem, members in zip(problems, rollouts, strict=True):
        scored = tuple(rollout for rollout in members if rollout.reward is not None)
        if len(scored) >= 2:
            groups.append(RolloutGroup(problem=problem, rollouts=scored))
    return groups


def group_rewards(group: RolloutGroup) -> torch.Tensor:
    """Rewards (G,), fp64."""
    return torch.tensor([rollout.reward.value for rollout in group.rollouts], dtype=torch.float64)


def group_advantages(rewards_G: torch.Tensor, config: AdvantageConfig) -> torch.Tensor:
    """Advantages (G,) in fp32; all zero where the rewards deviate less than `min_std`."""
    if config.name not in ADVANTAGES:
        raise UsageError(f"unknown advantage.name {config.name!r}; known: {', '.join(sorted(ADVANTAGES))}")
    if float(rewards_G.std()) < config.min_std:
        return torch.zeros_like(rewards_G, dtype=torch.float32)
    return ADVANTAGES[config.name](rewards_G).float()


def pack(groups: list[RolloutGroup], encoder: PromptEncoder) -> TokenBatch:
    """The batch of all responses of `groups`, in order; advantages are still zero."""
    lengths, group_ids, token_ids, logprobs, entropies, classes = [], [], [], [], [], []
    for number, group in enumerate(groups):
        for rollout in group.rollouts:
            completion = rollout.completion
            lengths.append(len(completion.token_ids))
            group_ids.append(number)
            token_ids.extend(completion.token_ids)
            logprobs.extend(completion.logprobs)
            entropies.extend(completion.entropies)
            classes.extend(token_classes(encoder, completion, rollout.candidate))
    return TokenBatch(
        row_offsets=torch.tensor([0, *lengths]).cumsum(0),
        group_ids=torch.tensor(group_ids, dtype=torch.int64),
        token_ids=torch.tensor(token_ids, dtype=torch.int64),
        logprobs=torch.tensor(logprobs, dtype=torch.float32),
        entropies=torch.tensor(entropies, dtype=torch.float32),
        advantages=torch.zeros(len(token_ids)),
        token_classes=torch.tensor(classes, dtype=torch.int64),
    )


def spread(values_B: torch.Tensor, batch: TokenBatch) -> torch.Tensor:
    """One value a response to one a token (N,), fp32."""
    return values_B.float().repeat_interleave(batch.lengths)


def response_sums(values_N: torch.Tensor, batch: TokenBatch) -> torch.Tensor:
    """Sums over each response (B,), fp64."""
    totals = torch.cat([torch.zeros(1, dtype=torch.float64), values_N.double().cumsum(0)])
    return totals[batch.row_offsets[1:]] - totals[batch.row_offsets[:-1]]


def slice_groups(batch: TokenBatch, start: int, stop: int) -> tuple[TokenBatch, slice]:
    """The responses of groups start..stop-1 as a batch of their own, and the packed tokens they are."""
    inside = ((batch.group_ids >= start) & (batch.group_ids < stop)).nonzero().squeeze(1)
    first, last = int(inside[0]), int(inside[-1]) + 1
    tokens = slice(int(batch.row_offsets[first]), int(batch.row_offsets[last]))
    reference = batch.reference_logprobs
    part = TokenBatch(
        row_offsets=batch.row_offsets[first : last + 1] - tokens.start,
        group_ids=batch.group_ids[first:last] - start,
        token_ids=batch.token_ids[tokens],
        logprobs=batch.logprobs[tokens],
        entropies=batch.entropies[tokens],
        advantages=batch.advantages[tokens],
        token_classes=batch.token_classes[tokens],
        reference_logprobs=None if reference is None else reference[tokens],
    )
    return part, tokens
