"""One training step, top to bottom: sample, judge, reward, advantage, gate, loss, backward, step.

`train_step` is the algorithm as the paper tells it. What it calls is beside it: the sampler, the judge, the forward
pass, the gate, the loss.
"""

import dataclasses
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from earl.batch import (
    group_advantages,
    group_rewards,
    group_rollouts,
    pack,
    response_sums,
    slice_groups,
    spread,
)
from earl.config import Config
from earl.engine import DTYPES
from earl.forward import Layout, Sequences, lay_out, micro_batches, token_stats
from earl.gate import make_gate
from earl.loss.kl import k1
from earl.loss.policy import count, kl_weights, policy_loss, surrogate_weights
from earl.policy import Policy
from earl.rollout import shuffle_rewards
from earl.step_metrics import UpdateMetrics, gate_metrics, perf_metrics, rollout_metrics
from earl.types import Rollout, RolloutGroup, TokenBatch
from hdl_bench.types import Completion, GenerationEngine, Sampling
from verifiers.types import Problem


class StepInterrupted(Exception):
    """The run was asked to stop; nothing of this step has touched the weights."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Learner:
    """What a step works with."""

    config: Config
    policy: Policy
    reference: PreTrainedModel | None  # None: no KL term
    optimizer: torch.optim.Optimizer
    engine: GenerationEngine
    judge: Callable[[list[Problem], list[list[Completion]], int], list[list[Rollout]]]
    should_stop: Callable[[], bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class StepResult:
    """What a step leaves for the log."""

    metrics: dict[str, float]
    rollouts: list[list[Rollout]]  # per problem, tool errors included
    batch: TokenBatch | None  # of the scored rollouts, in order; None when no group was left
    gate_N: torch.Tensor | None


def train_step(learner: Learner, problems: list[Problem], *, step: int, epoch: int, seed: int) -> StepResult:
    """Sample, judge and update once. Deterministic given weights, problems, step and seed.

    Raises:
        StepInterrupted: `should_stop` said so before the first weight changed.
    """
    config, clock = learner.config, [time.perf_counter()]
    sampling = Sampling(
        num_samples=config.train.group_size,
        max_tokens=config.sampling.max_tokens,
        temperature=config.sampling.temperature,
        seed=seed,
    )
    completions = learner.engine.generate([problem.prompt for problem in problems], sampling)
    clock.append(time.perf_counter())
    _stop_if_asked(learner)
    rollouts = learner.judge(problems, completions, epoch)
    if config.reward.control == "shuffled":
        rollouts = shuffle_rewards(rollouts, seed)
    clock.append(time.perf_counter())
    _stop_if_asked(learner)

    groups = group_rollouts(problems, rollouts)
    metrics = rollout_metrics(rollouts, groups, config.advantage.min_std)
    batch, gate_N = None, None
    if groups:
        layouts = [_layout_of(group) for group in groups]
        batch = pack(groups, learner.policy.encoder)
        batch = dataclasses.replace(batch, reference_logprobs=_reference_logprobs(learner, layouts))
        batch = dataclasses.replace(batch, advantages=spread(_advantages(groups, batch, config), batch))
        gate_N, update_metrics = _update(learner, batch, layouts, step)
        metrics |= gate_metrics(batch, gate_N) | update_metrics
    learner.engine.update_weights(step)
    clock.append(time.perf_counter())
    metrics |= perf_metrics(clock, rollouts, batch)
    return StepResult(metrics=metrics, rollouts=rollouts, batch=batch, gate_N=gate_N)


def _stop_if_asked(learner: Learner) -> None:
    if learner.should_stop():
        raise StepInterrupted


def _layout_of(group: RolloutGroup) -> Layout:
    completions = [rollout.completion for rollout in group.rollouts]
    return lay_out(Sequences(prompt=completions[0].prompt_token_ids, responses=tuple(c.token_ids for c in completions)))


def _advantages(groups: list[RolloutGroup], batch: TokenBatch, config: Config) -> torch.Tensor:
    """Advantages of all responses (B,). With kl.where = "reward", each reward first pays beta times its summed k1."""
    rewards_B = torch.cat([group_rewards(group) for group in groups])
    if config.kl.beta > 0 and config.kl.where == "reward":
        assert batch.reference_logprobs is not None
        rewards_B = rewards_B - config.kl.beta * response_sums(k1(batch.logprobs, batch.reference_logprobs), batch)
    sizes = [len(group.rollouts) for group in groups]
    return torch.cat([group_advantages(rewards_G, config.advantage) for rewards_G in rewards_B.split(sizes)])


def _sampling_stats(learner: Learner, model: PreTrainedModel, layouts: list[Layout]) -> tuple[torch.Tensor, ...]:
    """Log-probs and entropies (N,) of all response tokens under `model`, no gradient."""
    config = learner.config
    parts: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    with torch.no_grad():
        for indices in micro_batches([x.token_ids_S.numel() for x in layouts], config.train.micro_batch_tokens):
            chosen = [layouts[index] for index in indices]
            stats = token_stats(
                model, chosen, temperature=config.sampling.temperature, dtype=DTYPES[config.model.dtype]
            )
            sizes = [layout.targets.numel() for layout in chosen]
            columns = zip(indices, stats.logprob.cpu().split(sizes), stats.entropy.cpu().split(sizes), strict=True)
            parts |= {index: (logprob, entropy) for index, logprob, entropy in columns}
    ordered = [parts[index] for index in range(len(layouts))]
    return torch.cat([logprob for logprob, _ in ordered]), torch.cat([entropy for _, entropy in ordered])


def _reference_logprobs(learner: Learner, layouts: list[Layout]) -> torch.Tensor | None:
    if learner.reference is None:
        return None
    return _sampling_stats(learner, learner.reference, layouts)[0]


def _update(
    learner: Learner, batch: TokenBatch, layouts: list[Layout], step: int
) -> tuple[torch.Tensor, dict[str, float]]:
    """The optimiser updates of a batch: one, or one a mini-batch of groups. Returns the gate (N,) and metrics."""
    config = learner.config
    learning_rate = learning_rate_at(step, config)
    for parameters in learner.optimizer.param_groups:
        parameters["lr"] = learning_rate
    gate_of = make_gate(config.gate.name, config.gate.params)
    metrics = UpdateMetrics()
    gate_N = torch.zeros_like(batch.token_ids, dtype=torch.bool)
    num_updates = min(config.train.num_minibatches, len(layouts))
    bounds = [len(layouts) * number // num_updates for number in range(num_updates + 1)]
    for start, stop in itertools.pairwise(bounds):
        part, tokens = slice_groups(batch, start, stop)
        judged = part
        if config.gate.entropy_source == "current":
            _, entropies = _sampling_stats(learner, learner.policy.model, layouts[start:stop])
            judged = dataclasses.replace(part, entropies=entropies)
        gate_N[tokens] = gate_of(judged)
        _accumulate_gradients(learner, part, gate_N[tokens], layouts[start:stop], metrics)
        metrics.grad_norm(torch.nn.utils.clip_grad_norm_(learner.policy.model.parameters(), _max_norm(config)))
        learner.optimizer.step()
        learner.optimizer.zero_grad(set_to_none=True)
    return gate_N, metrics.values() | {"learning_rate": learning_rate}


def learning_rate_at(step: int, config: Config) -> float:
    """Linear warm-up over `train.warmup_steps`, then constant. Steps count from 1."""
    warmup = config.train.warmup_steps
    return config.train.learning_rate * (min(1.0, step / warmup) if warmup else 1.0)


def _max_norm(config: Config) -> float:
    return config.train.max_grad_norm or float("inf")


def _accumulate_gradients(
    learner: Learner, batch: TokenBatch, gate_N: torch.Tensor, layouts: list[Layout], metrics: UpdateMetrics
) -> None:
    """Backward of one optimiser batch, micro-batch by micro-batch. The head runs only where a gradient can arise."""
    config = learner.config
    counts = count(batch, gate_N)
    weights = (
        surrogate_weights(batch, gate_N, counts, config.loss.denominator),
        kl_weights(batch, gate_N, counts, config.kl),
    )
    needed_N = ((weights[0] > 0) & (batch.advantages != 0)) | (weights[1] > 0)
    sizes = [layout.targets.numel() for layout in layouts]
    starts = [sum(sizes[:index]) for index in range(len(sizes))]
    active = [i for i in range(len(layouts)) if bool(needed_N[starts[i] : starts[i] + sizes[i]].any())]
    widths = [layouts[index].token_ids_S.numel() for index in active]
    for positions in micro_batches(widths, config.train.micro_batch_tokens):
        indices = [active[position] for position in positions]
        tokens = torch.cat([torch.arange(starts[i], starts[i] + sizes[i]) for i in indices])
        rows = needed_N[tokens].nonzero().squeeze(1)
        stats = token_stats(
            learner.policy.model,
            [layouts[index] for index in indices],
            temperature=config.sampling.temperature,
            dtype=DTYPES[config.model.dtype],
            rows=rows,
        )
        output = policy_loss(stats.logprob, tokens[rows], batch, weights, config.loss)
        output.loss.backward()
        metrics.add(output, stats.logprob.detach(), batch.logprobs[tokens[rows]])
