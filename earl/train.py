"""The training loop: steps, logs, checkpoints, resume. What a step does is in `earl.step`."""

from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from earl import checkpoint
from earl.completions_log import write_completions
from earl.config import Config
from earl.data import ProblemStream
from earl.engine import make_engine
from earl.hooks import Hooks
from earl.journal import VerdictJournal
from earl.metrics import MetricsLog
from earl.policy import load_model, load_policy
from earl.rollout import RolloutJudge
from earl.run_folder import RunFolder
from earl.step import Learner, StepInterrupted, train_step
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
    stream = ProblemStream(problems=tuple(problems), batch_size=config.train.num_problems, seed=config.run.seed)
    saved = checkpoint.latest(run.checkpoints) if is_resumed else None
    step = saved.step if saved else 0
    policy = load_policy(str(saved.folder) if saved else config.model.path, config.prompt)
    optimizer = torch.optim.AdamW(policy.model.parameters(), weight_decay=config.train.weight_decay, fused=True)
    if saved:
        checkpoint.load_optimizer(saved, optimizer)
    journal = VerdictJournal(run.path / "verdicts.jsonl")
    log = MetricsLog(run.metrics_path, last_step=step)
    learner = Learner(
        config=config,
        policy=policy,
        reference=_reference(config),
        optimizer=optimizer,
        engine=make_engine(policy, config.sampling, dtype=config.model.dtype),
        judge=RolloutJudge(farm, journal, config.reward, config.run.seed),
        should_stop=hooks.should_stop,
    )
    learner.engine.update_weights(step)

    def save() -> checkpoint.Checkpoint:
        return checkpoint.save(run.checkpoints, step, policy, optimizer, keep=config.train.keep_checkpoints)

    try:
        while step < config.train.num_steps and not hooks.should_stop():
            batch, epoch = stream.batch(step + 1)
            try:
                result = train_step(learner, batch, step=step + 1, epoch=epoch, seed=step_seed(config, step + 1))
            except StepInterrupted:
                break
            step += 1
            log.write(step, result.metrics)
            write_completions(run.completions_path(step), step, result)
            hooks.on_step(step, config.train.num_steps, result.metrics)
            if config.train.checkpoint_every and step % config.train.checkpoint_every == 0:
                saved = save()
    finally:
        log.close()
        journal.close()
    if saved is None or saved.step != step:
        saved = save()
    return TrainResult(num_steps=step, num_planned=config.train.num_steps, checkpoint=saved)


def step_seed(config: Config, step: int) -> int:
    """The sampling seed of a step."""
    return config.run.seed * 1_000_000 + step


def _reference(config: Config) -> PreTrainedModel | None:
    """The frozen policy that KL is measured to: the one that training started from."""
    if config.kl.beta == 0:
        return None
    return load_model(config.model.path).requires_grad_(False)
