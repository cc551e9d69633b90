"""Rollout groups to a `TokenBatch`: rewards, advantages, token classes, everything packed end to end."""

import dataclasses

import torch

from earl.advantage import ADVANTAGES
from earl.advantage.groups import group_stds
from earl.config import Config
from earl.control.filters import GroupFigures, make_filter
from earl.loss.kl import ESTIMATORS, estimator_of
from earl.policy import PromptEncoder
from earl.reward import overlong_penalty
from earl.token_class import suspect_tokens, token_classes, token_spans
from earl.types import Rollout, RolloutGroup, TokenBatch
from verifiers.types import Problem


def group_rollouts(problems: list[Problem], rollouts: list[list[Rollout]]) -> list[RolloutGroup]:
    """Groups of scored rollouts. A tool error leaves its group; a group with fewer than two left is dropped."""
    groups = []
    for problem, members in zip(problems, rollouts, strict=True):
        scored = tuple(rollout for rollout in members if rollout.reward is not None)
        if len(scored) >= 2:
            groups.append(RolloutGroup(problem=problem, rollouts=scored))
    return groups


def shaped_rewards(groups: list[RolloutGroup], config: Config) -> torch.Tensor:
    """What advantages are made of (B,), fp64: the reward less the overlong penalty, or 0 for what was cut by length."""
    values = []
    for rollout in (rollout for group in groups for rollout in group.rollouts):
        completion = rollout.completion
        if config.reward.truncated == "zero" and completion.finish_reason == "length":
            values.append(0.0)
            continue
        penalty = overlong_penalty(len(completion.token_ids), config.sampling.max_tokens, config.reward.overlong)
        values.append(rollout.reward.value - penalty)
    return torch.tensor(values, dtype=torch.float64)


def group_ids(groups: list[RolloutGroup]) -> torch.Tensor:
    """The number of each rollout's group (B,)."""
    return torch.arange(len(groups)).repeat_interleave(torch.tensor([len(group.rollouts) for group in groups]))


def keep_groups(groups: list[RolloutGroup], config: Config) -> list[RolloutGroup]:
    """The groups that `groups.filter` lets train, by their shaped rewards."""
    if not groups:
        return []
    rewards_B, ids_B = shaped_rewards(groups, config), group_ids(groups)
    stds = group_stds(rewards_B, ids_B)[torch.searchsorted(ids_B, torch.arange(len(groups)))].tolist()
    figures = [
        GroupFigures(
            std=std,
            is_flat=std < config.advantage.min_std,
            pass_rate=sum(rollout.verdict.passed for rollout in group.rollouts) / len(group.rollouts),
        )
        for group, std in zip(groups, stds, strict=True)
    ]
    kept = make_filter(config.groups)(figures)
    return [group for group, is_kept in zip(groups, kept, strict=True) if is_kept]


def advantages(groups: list[RolloutGroup], batch: TokenBatch, config: Config) -> torch.Tensor:
    """Advantages (B,), fp32. With kl.where = "reward", each reward first pays beta times its summed KL."""
    rewards_B = shaped_rewards(groups, config)
    if config.kl.beta > 0 and config.kl.where == "reward":
        assert batch.reference_logprobs is not None
        estimate = ESTIMATORS[estimator_of(config.kl.estimator, config.kl.where)]
        divergence_N = estimate(batch.logprobs, batch.reference_logprobs)
        rewards_B = rewards_B - config.kl.beta * response_sums(divergence_N, batch)
    return ADVANTAGES[config.advantage.name](rewards_B, batch, config.advantage).float()


def pack(groups: list[RolloutGroup], encoder: PromptEncoder) -> TokenBatch:
    """The batch of all responses of `groups`, in order; advantages are still zero."""
    lengths, token_ids, logprobs, entropies, classes, suspects = [], [], [], [], [], []
    for rollout in (rollout for group in groups for rollout in group.rollouts):
        completion = rollout.completion
        spans = token_spans(encoder, completion.token_ids, completion.text)
        lengths.append(len(completion.token_ids))
        token_ids.extend(completion.token_ids)
        logprobs.extend(completion.logprobs)
        entropies.extend(completion.entropies)
        classes.extend(token_classes(encoder, completion, rollout.candidate, spans))
        suspects.extend(suspect_tokens(spans, completion.text, rollout.candidate, rollout.verdict.suspect_lines))
    return TokenBatch(
        row_offsets=torch.tensor([0, *lengths]).cumsum(0),
        group_ids=group_ids(groups),
        token_ids=torch.tensor(token_ids, dtype=torch.int64),
        logprobs=torch.tensor(logprobs, dtype=torch.float32),
        entropies=torch.tensor(entropies, dtype=torch.float32),
        advantages=torch.zeros(len(token_ids)),
        token_classes=torch.tensor(classes, dtype=torch.int64),
        suspects=torch.tensor(suspects, dtype=torch.bool),
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
    inside_B = (batch.group_ids >= start) & (batch.group_ids < stop)
    first, last = int(inside_B.nonzero()[0]), int(inside_B.nonzero()[-1]) + 1
    tokens = slice(int(batch.row_offsets[first]), int(batch.row_offsets[last]))
    return select_responses(batch, inside_B), tokens


def select_responses(batch: TokenBatch, keep_B: torch.Tensor) -> TokenBatch:
    """The chosen responses as a batch of their own; the groups that are left are numbered anew."""
    keep_N = keep_B.repeat_interleave(batch.lengths)
    of_responses = {
        "row_offsets": torch.cat([torch.zeros(1, dtype=torch.int64), batch.lengths[keep_B].cumsum(0)]),
        "group_ids": batch.group_ids[keep_B].unique_consecutive(return_inverse=True)[1],
    }
    values = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    of_tokens = {
        name: None if value is None else value[keep_N] for name, value in values.items() if name not in of_responses
    }
    return TokenBatch(**of_responses, **of_tokens)


def without_truncated(groups: list[RolloutGroup]) -> tuple[list[RolloutGroup], torch.Tensor]:
    """The groups without the rollouts that were cut by length, empty ones left out; and which rollouts stay (B,)."""
    keep = [[rollout.completion.finish_reason != "length" for rollout in group.rollouts] for group in groups]
    left = [
        dataclasses.replace(group, rollouts=tuple(r for r, is_kept in zip(group.rollouts, row, strict=True) if is_kept))
        for group, row in zip(groups, keep, strict=True)
        if any(row)
    ]
    return left, torch.tensor([is_kept for row in keep for is_kept in row], dtype=torch.bool)
