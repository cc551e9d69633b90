"""The training loop: steps, logs, checkpoints, resume. What a step does is in `earl.step`."""

from dataclasses import dataclass

import torch

from earl import checkpoint
from earl.backends import Backends
from earl.completions_log import write_completions
from earl.config import Config
from earl.control.reference import Reference, reference_params
from earl.control.signs import Signs, recheck_metrics
from earl.engine import make_engine
from earl.hooks import Hooks
from earl.journal import VerdictJournal
from earl.metrics import MetricsLog, read_metrics
from earl.policy import load_model, load_policy
from earl.problem_stream import make_source
from earl.rollout import RolloutJudge
from earl.run_folder import RunFolder
from earl.step import Learner, StepInterrupted, StepResult, train_step
from verifiers.connect import Judge
from verifiers.types import Problem

_QUIET = Hooks()


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainResult:
    """Steps finished of steps asked for, and where the newest checkpoint lies."""

    num_steps: int
    num_planned: int
    checkpoint: checkpoint.Checkpoint


def train(
    config: Config,
    run: RunFolder,
    problems: list[Problem],
    farm: Judge,
    *,
    is_resumed: bool = False,
    hooks: Hooks = _QUIET,
) -> TrainResult:
    """Train until `train.num_steps` or until asked to stop; both end with a checkpoint.

    A resumed run goes on from the newest checkpoint: on a CPU it ends with the bytes that an unbroken one would.
    """
    source = make_source(problems, config)
    saved = checkpoint.latest(run.checkpoints) if is_resumed else None
    step = saved.step if saved else 0
    policy = load_policy(str(saved.folder) if saved else config.model.path, config.prompt)
    optimizer = torch.optim.AdamW(policy.model.parameters(), weight_decay=config.train.weight_decay, fused=True)
    reference = _reference(config)
    if saved:
        checkpoint.load_optimizer(saved, optimizer)
        state = checkpoint.load_state(saved)
        source.load_state_dict(state.get("problems", {}))
        if reference:
            reference.load_state_dict(state.get("reference", {}))
    journal = VerdictJournal(run.path / "verdicts.jsonl")
    log = MetricsLog(run.metrics_path, last_step=step)
    signs = Signs(config.log.signs, read_metrics(run.metrics_path))
    backends = Backends(config, run.path, last_step=step, warn=hooks.warn)
    judge = RolloutJudge(farm, journal, config.reward, config.run.seed)
    learner = Learner(
        config=config,
        policy=policy,
        reference=reference.model if reference else None,
        optimizer=optimizer,
        engine=make_engine(policy, config.sampling, dtype=config.model.dtype),
        judge=judge,
        should_stop=hooks.should_stop,
        more_problems=source.more,
    )
    learner.engine.update_weights(step)

    def save() -> checkpoint.Checkpoint:
        state = {"problems": source.state_dict(), "reference": reference.state_dict() if reference else {}}
        return checkpoint.save(
            run.checkpoints, step, policy, optimizer, keep=config.train.keep_checkpoints, state=state
        )

    try:
        while step < config.train.num_steps and not hooks.should_stop():
            batch, epoch = source.batch(step + 1)
            try:
                result = train_step(learner, batch, step=step + 1, epoch=epoch, seed=step_seed(config, step + 1))
            except StepInterrupted:
                break
            step += 1
            source.observe(pass_rates(result))
            if reference:
                reference.update(policy.model, step)
            metrics = result.metrics | recheck_metrics(judge, result, step, config.log.signs)
            if config.log.backends:
                metrics["perf/backend_failures"] = float(backends.num_failures)
            log.write(step, metrics)
            backends.write(step, metrics)
            for advice in signs.update(metrics):
                hooks.warn(f"step {step}: {advice}")
            write_completions(run.completions_path(step, config.log.completions), step, result)
            hooks.on_step(step, config.train.num_steps, metrics)
            if config.train.checkpoint_every and step % config.train.checkpoint_every == 0:
                saved = save()
    finally:
        backends.close()
        log.close()
        journal.close()
    if saved is None or saved.step != step:
        saved = save()
    return TrainResult(num_steps=step, num_planned=config.train.num_steps, checkpoint=saved)


def step_seed(config: Config, step: int) -> int:
    """The sampling seed of a step."""
    return config.run.seed * 1_000_000 + step


def pass_rates(result: StepResult) -> list[tuple[str, float]]:
    """Problem id and pass rate of each group of a step; tool errors do not count, and a group of them says nothing."""
    rates = []
    for group in result.rollouts:
        scored = [rollout for rollout in group if rollout.verdict.is_scored]
        if scored:
            rates.append((scored[0].problem_id, sum(rollout.verdict.passed for rollout in scored) / len(scored)))
    return rates


def _reference(config: Config) -> Reference | None:
    """What KL is measured to: at first the policy that training starts from. None without a KL term."""
    if config.kl.beta == 0:
        return None
    return Reference(load_model(config.model.path).requires_grad_(False), reference_params(config.kl))
