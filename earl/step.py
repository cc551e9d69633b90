"""One training step, top to bottom: sample, judge, reward, advantage, gate, loss, backward, step.

`train_step` is the algorithm as the paper tells it. What it calls is beside it: the sampler, the judge, the forward
pass, the gate, the loss.
"""

import dataclasses
import itertools
import math
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from earl.batch import (
    advantages,
    group_rollouts,
    keep_groups,
    pack,
    select_responses,
    slice_groups,
    spread,
    without_truncated,
)
from earl.config import Config
from earl.control.reference import AdapterReference, Reference
from earl.engine import compute_dtype
from earl.forward import Layout, Sequences, lay_out, micro_batches, token_stats
from earl.gate import make_gate
from earl.loss.correction import correction_level, correction_weights
from earl.loss.kl import estimator_of
from earl.loss.policy import count, kl_weights, policy_loss, surrogate_weights
from earl.policy import Policy
from earl.rollout import CONTROLS
from earl.rollout_source import RolloutSource, Sampled, draw_seed
from earl.schedules import factor
from earl.step_metrics import (
    Clock,
    UpdateMetrics,
    correction_metrics,
    gate_metrics,
    group_metrics,
    perf_metrics,
    rollout_metrics,
)
from earl.types import Rollout, RolloutGroup, TokenBatch
from verifiers.types import Problem


@dataclass(frozen=True, kw_only=True, slots=True)
class Learner:
    """What a step works with."""

    config: Config
    policy: Policy
    reference: Reference | AdapterReference | None  # None: no KL term
    optimizer: torch.optim.Optimizer
    rollouts: RolloutSource


@dataclass(frozen=True, kw_only=True, slots=True)
class SkippedUpdate:
    """An update of a step (from 1) that was left out: its loss or its gradient's norm is no finite number."""

    number: int
    first_group: int  # of the batch's groups (of supervised training: examples), these two and those between
    last_group: int
    loss: float
    grad_norm: float


@dataclass(frozen=True, kw_only=True, slots=True)
class StepResult:
    """What a step leaves for the log."""

    metrics: dict[str, float]
    problems: list[Problem]  # that were sampled, further rounds included
    rollouts: list[list[Rollout]]  # per problem, tool errors included
    trained: list[Rollout]  # those of the batch, in order
    batch: TokenBatch | None  # None when no group was left, without responses when all of them were masked
    gate_N: torch.Tensor | None
    skipped: tuple[SkippedUpdate, ...] = ()


def train_step(learner: Learner, step: int) -> StepResult:
    """Sample, judge and update once. Deterministic given weights, rollouts and step.

    Raises:
        StepInterrupted: the run is to stop, and no weight has changed yet.
    """
    config, clock = learner.config, Clock()
    sampled = learner.rollouts.first(step)
    clock.sampled(sampled)
    problems, rollouts = sampled.problems, _controlled(sampled, config, step)
    groups = keep_groups(group_rollouts(problems, rollouts), config)
    for number in range(1, config.groups.max_rounds + 1):
        missing = config.train.num_problems - len(groups)
        if missing <= 0:
            break
        # New problems in the place of the groups that were dropped.
        sampled = learner.rollouts.more(step, number, missing, problems)
        if not sampled.problems:
            break
        clock.sampled(sampled)
        further = _controlled(sampled, config, step, number)
        problems, rollouts = problems + sampled.problems, rollouts + further
        groups += keep_groups(group_rollouts(sampled.problems, further), config)

    metrics = rollout_metrics(rollouts) | group_metrics(group_rollouts(problems, rollouts), groups, rollouts, config)
    batch, gate_N, skipped = None, None, ()
    if groups:
        layouts = [_layout_of(group) for group in groups]
        batch = pack(groups, learner.policy.encoder)
        batch = dataclasses.replace(batch, reference_logprobs=_reference_logprobs(learner, layouts))
        batch = dataclasses.replace(batch, advantages=spread(advantages(groups, batch, config), batch))
        if config.reward.truncated == "masked":
            groups, keep_B = without_truncated(groups)
            batch, layouts = select_responses(batch, keep_B), [_layout_of(group) for group in groups]
    if batch is not None and batch.num_sequences:
        batch = _corrected(learner, batch, layouts)
        gate_N, update_metrics, skipped = _update(learner, batch, layouts, step)
        metrics |= gate_metrics(batch, gate_N) | update_metrics | correction_metrics(batch, config.loss.correction_cap)
    clock.mark("train")
    metrics |= perf_metrics(clock, rollouts, batch)
    trained = [rollout for group in groups for rollout in group.rollouts]
    return StepResult(
        metrics=metrics,
        problems=problems,
        rollouts=rollouts,
        trained=trained,
        batch=batch,
        gate_N=gate_N,
        skipped=skipped,
    )


def _controlled(sampled: Sampled, config: Config, step: int, number: int = 0) -> list[list[Rollout]]:
    """The rollouts, with other rewards if the run is a control."""
    if config.reward.control == "none":
        return sampled.rollouts
    return CONTROLS[config.reward.control](sampled.rollouts, draw_seed(config, step, number))


def _layout_of(group: RolloutGroup) -> Layout:
    completions = [rollout.completion for rollout in group.rollouts]
    return lay_out(Sequences(prompt=completions[0].prompt_token_ids, responses=tuple(c.token_ids for c in completions)))


def _sampling_stats(learner: Learner, model: PreTrainedModel, layouts: list[Layout]) -> tuple[torch.Tensor, ...]:
    """Log-probs and entropies (N,) of all response tokens under `model`, no gradient."""
    config = learner.config
    parts: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    with torch.no_grad():
        for indices in micro_batches([x.token_ids_S.numel() for x in layouts], config.train.micro_batch_tokens):
            chosen = [layouts[index] for index in indices]
            stats = token_stats(
                model, chosen, temperature=config.sampling.temperature, dtype=compute_dtype(config.model.dtype)
            )
            sizes = [layout.targets.numel() for layout in chosen]
            columns = zip(indices, stats.logprob.cpu().split(sizes), stats.entropy.cpu().split(sizes), strict=True)
            parts |= {index: (logprob, entropy) for index, logprob, entropy in columns}
    ordered = [parts[index] for index in range(len(layouts))]
    return torch.cat([logprob for logprob, _ in ordered]), torch.cat([entropy for _, entropy in ordered])


def _reference_logprobs(learner: Learner, layouts: list[Layout]) -> torch.Tensor | None:
    if learner.reference is None:
        return None
    with learner.reference.as_model() as model:
        return _sampling_stats(learner, model, layouts)[0]


def _corrected(learner: Learner, batch: TokenBatch, layouts: list[Layout]) -> TokenBatch:
    """The batch with the trainer's own log-probs and importance weights, where sampler and trainer differ."""
    loss = learner.config.loss
    level = correction_level(learner.config)
    if level == "none":
        return batch
    batch = dataclasses.replace(batch, old_logprobs=_sampling_stats(learner, learner.policy.model, layouts)[0])
    return dataclasses.replace(batch, corrections=correction_weights(batch, level, loss.correction_cap))


def _update(
    learner: Learner, batch: TokenBatch, layouts: list[Layout], step: int
) -> tuple[torch.Tensor, dict[str, float], tuple[SkippedUpdate, ...]]:
    """The optimiser updates of a batch: one, or one a mini-batch of groups. Returns the gate (N,) and metrics.

    An update that is no finite number is left out: it touches neither weights nor optimiser.
    """
    config = learner.config
    learning_rate = learning_rate_at(step, config)
    for parameters in learner.optimizer.param_groups:
        parameters["lr"] = learning_rate
    gate_of = make_gate(config.gate.name, config.gate.params, step=step)
    metrics, skipped = UpdateMetrics(), []
    gate_N = torch.zeros_like(batch.token_ids, dtype=torch.bool)
    num_updates = min(config.train.num_minibatches, len(layouts))
    bounds = [len(layouts) * number // num_updates for number in range(num_updates + 1)]
    for number, (start, stop) in enumerate(itertools.pairwise(bounds), start=1):
        part, tokens = slice_groups(batch, start, stop)
        judged = part
        if config.gate.entropy_source == "current":
            _, entropies = _sampling_stats(learner, learner.policy.model, layouts[start:stop])
            judged = dataclasses.replace(part, entropies=entropies)
        gate_N[tokens] = gate_of(judged)
        accumulate_gradients(config, learner.policy, part, gate_N[tokens], layouts[start:stop], metrics)
        grad_norm = torch.nn.utils.clip_grad_norm_(learner.policy.model.parameters(), _max_norm(config))
        loss, grad_norm = metrics.end_update(grad_norm)
        if math.isfinite(loss) and math.isfinite(grad_norm):
            learner.optimizer.step()
        else:
            groups = {"first_group": start, "last_group": stop - 1}
            skipped.append(SkippedUpdate(number=number, **groups, loss=loss, grad_norm=grad_norm))
        learner.optimizer.zero_grad(set_to_none=True)
    return gate_N, metrics.values() | {"learning_rate": learning_rate}, tuple(skipped)


def learning_rate_at(step: int, config: Config) -> float:
    """Linear warm-up over `train.warmup_steps`, then as `optimizer.schedule` says. Steps count from 1."""
    train = config.train
    return train.learning_rate * factor(config.optimizer.schedule, step, train.num_steps, train.warmup_steps)


def _max_norm(config: Config) -> float:
    return config.optimizer.max_grad_norm or float("inf")


def accumulate_gradients(
    config: Config,
    policy: Policy,
    batch: TokenBatch,
    gate_N: torch.Tensor,
    layouts: list[Layout],
    metrics: UpdateMetrics,
) -> None:
    """Backward of one optimiser batch, micro-batch by micro-batch. The head runs only where a gradient can arise."""
    counts = count(batch, gate_N, config.sampling.max_tokens)
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
            policy.model,
            [layouts[index] for index in indices],
            temperature=config.sampling.temperature,
            dtype=compute_dtype(config.model.dtype),
            rows=rows,
        )
        estimator = estimator_of(config.kl.estimator, config.kl.where)
        output = policy_loss(stats.logprob, tokens[rows], batch, weights, config.loss, estimator)
        output.loss.backward()
        metrics.add(output, stats.logprob.detach() - batch.logprobs[tokens[rows]])
