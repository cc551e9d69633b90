"""The training loop: steps, logs, checkpoints, resume. What a step does is in `earl.step`."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from earl import checkpoint
from earl.completions_log import write_completions
from earl.config import Config
from earl.data import ProblemStream
from earl.engine import make_engine
from earl.journal import VerdictJournal
from earl.metrics import MetricsLog
from earl.policy import PromptEncoder, load_encoder, load_policy
from earl.rollout import RolloutJudge
from earl.run_folder import RunFolder
from earl.step import Learner, StepInterrupted, train_step
from verifiers.farm import Farm
from verifiers.types import Problem


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
    farm: Farm,
    *,
    is_resumed: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
    on_step: Callable[[int, dict[str, float]], None] = lambda step, metrics: None,
) -> TrainResult:
    """Train until `train.num_steps` or until asked to stop; both end with a checkpoint.

    A resumed run goes on from the newest checkpoint: on a CPU it ends with the bytes that an unbroken one would.
    """
    stream = ProblemStream(problems=tuple(problems), batch_size=config.train.num_problems, seed=config.run.seed)
    start = checkpoint.latest(run.checkpoints) if is_resumed else None
    first = start.step if start else 0
    source = str(start.folder) if start else config.model.path
    model, encoder = load_policy(source), _encoder(source, config)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.train.learning_rate, weight_decay=config.train.weight_decay, fused=True
    )
    if start:
        checkpoint.load_optimizer(start, optimizer)
    journal = VerdictJournal(run.path / "verdicts.jsonl")
    log = MetricsLog(run.metrics_path, last_step=first)
    learner = Learner(
        config=config,
        model=model,
        reference=_reference(config),
        optimizer=optimizer,
        encoder=encoder,
        engine=make_engine(
            config.sampling.engine, model, encoder, dtype=config.model.dtype, max_rows=config.sampling.max_rows
        ),
        judge=RolloutJudge(farm, journal, config.reward, config.run.seed),
        should_stop=should_stop,
    )
    learner.engine.update_weights(first)

    def save(step: int) -> checkpoint.Checkpoint:
        return checkpoint.save(
            run.checkpoints,
            step,
            model=model,
            encoder=encoder,
            optimizer=optimizer,
            keep=config.train.keep_checkpoints,
        )

    saved, step = start, first
    try:
        while step < config.train.num_steps and not should_stop():
            batch, epoch = stream.batch(step + 1)
            try:
                result = train_step(learner, batch, step=step + 1, epoch=epoch, seed=step_seed(config, step + 1))
            except StepInterrupted:
                break
            step += 1
            log.write(step, result.metrics)
            write_completions(run.completions_path(step), step, result)
            on_step(step, result.metrics)
            every = config.train.checkpoint_every
            if every and step % every == 0:
                saved = save(step)
    finally:
        log.close()
        journal.close()
    if saved is None or saved.step != step:
        saved = save(step)
    return TrainResult(num_steps=step, num_planned=config.train.num_steps, checkpoint=saved)


def step_seed(config: Config, step: int) -> int:
    """The sampling seed of a step."""
    return config.run.seed * 1_000_000 + step


def _encoder(source: str, config: Config) -> PromptEncoder:
    return load_encoder(source, template=config.prompt.template, max_tokens=config.prompt.max_tokens)


def _reference(config: Config) -> PreTrainedModel | None:
    """The frozen policy that KL is measured to: the one that training started from."""
    if config.kl.beta == 0:
        return None
    return load_policy(config.model.path).requires_grad_(False)
