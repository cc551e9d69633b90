"""The training loop: steps, logs, checkpoints, resume. What a step does is in `earl.step`."""

from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial

from earl import checkpoint
from earl.asynchronous.rollouts import WorkerRollouts
from earl.config import Config
from earl.control.reference import make_reference
from earl.engine import make_engine
from earl.farm_wait import Patience
from earl.guard import Guard, TrainingDiverged, keep_batch
from earl.hooks import Hooks, StepInterrupted
from earl.journal import VerdictJournal
from earl.optimizers import make_optimizer
from earl.policy import Policy, load_trainable
from earl.problem_stream import ProblemSource, make_source
from earl.random_state import RandomState, seed_everything
from earl.resume_check import identity_of, keep_identity, problem_digests
from earl.rollout import RolloutJudge
from earl.rollout_source import OwnRollouts, RolloutSource, Sampler
from earl.run_folder import RunFolder
from earl.run_state import Part, RunState
from earl.step import Learner, StepResult, train_step
from earl.step_log import StepLog
from toolchain.errors import InfrastructureError
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

    A resumed run goes on from the newest checkpoint, or from the start if it was killed before the first: on a CPU it
    ends with the bytes that an unbroken one would.

    Raises:
        FarmLost: the judge stayed lost; a checkpoint was written. So it is for every other InfrastructureError.
        TrainingDiverged: updates are no finite numbers; a checkpoint of the last good weights was written.
    """
    seed_everything(config.run.seed)
    job = _set_up(config, run, problems, farm, hooks, is_resumed=is_resumed)
    with job.opened:
        try:
            _take_steps(job, hooks)
        except (InfrastructureError, TrainingDiverged):
            job.state.save()
            raise
        saved = job.state.save()
    return TrainResult(num_steps=saved.step, num_planned=config.train.num_steps, checkpoint=saved)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    """What the loop works with."""

    learner: Learner
    problems: ProblemSource
    state: RunState
    log: StepLog
    guard: Guard
    opened: ExitStack  # closes what is open


def _take_steps(job: _Job, hooks: Hooks) -> None:
    """The loop. A step that is interrupted has not been."""
    learner, state, settings = job.learner, job.state, job.learner.config.train
    learner.rollouts.publish(state.step)
    while state.step < settings.num_steps and not hooks.should_stop():
        try:
            result = train_step(learner, state.step + 1)
        except StepInterrupted:
            break
        state.step += 1
        job.problems.observe(pass_rates(result))
        if learner.reference:
            learner.reference.update(learner.policy.model, state.step)
        learner.rollouts.publish(state.step)
        metrics = job.log.write(state.step, result, learner.rollouts.metrics())
        job.guard.hear(state.step, result.skipped, partial(keep_batch, result))
        hooks.on_step(state.step, settings.num_steps, metrics)
        if settings.checkpoint_every and state.step % settings.checkpoint_every == 0:
            state.save()


def _set_up(
    config: Config, run: RunFolder, problems: list[Problem], farm: Judge, hooks: Hooks, *, is_resumed: bool
) -> _Job:
    """A job at its first step, or where its newest checkpoint left it."""
    identity = identity_of(config, problem_digests(problems))
    keep_identity(run, identity)
    source = make_source(problems, config)
    saved = checkpoint.newest(run.checkpoints) if is_resumed else None
    policy = load_trainable(str(saved.folder) if saved else config.model.path, config)
    optimizer = make_optimizer(policy.model, config.optimizer)
    reference = make_reference(config, policy.model)
    guard = Guard(run.path / "skipped", hooks.warn)
    with ExitStack() as opened:
        journal = opened.enter_context(closing(VerdictJournal(run.path / "verdicts.jsonl")))
        if journal.num_damaged:
            hooks.warn(f"{journal.num_damaged} lines of the journal verdicts.jsonl are damaged; these are judged again")
        patience = Patience(limit_s=config.verifier.wait_s, hooks=hooks)
        judge = RolloutJudge(farm, journal, config.reward, config.run.seed, patience)
        last_step = saved.step if saved else 0
        log = opened.enter_context(closing(StepLog(config, run, farm, judge, hooks, last_step=last_step)))
        rollouts = opened.enter_context(closing(_rollout_source(config, run, policy, source, judge, hooks)))

        parts: dict[str, Part] = {"problems": source, "rollouts": rollouts, "signs": log.signs, "guard": guard}
        parts["random"] = RandomState()
        if reference:
            parts["reference"] = reference
        state = RunState(run, policy, optimizer, parts, identity=identity, saved=saved)
        state.restore()
        learner = Learner(config=config, policy=policy, reference=reference, optimizer=optimizer, rollouts=rollouts)
        return _Job(learner=learner, problems=source, state=state, log=log, guard=guard, opened=opened.pop_all())


def _rollout_source(
    config: Config, run: RunFolder, policy: Policy, problems: ProblemSource, judge: RolloutJudge, hooks: Hooks
) -> RolloutSource:
    """Workers where the config has any; else the trainer samples itself."""
    if config.rollout.num_workers:
        return WorkerRollouts(config, run.path, policy, problems, hooks)
    engine = make_engine(policy, config.sampling, dtype=config.model.dtype)
    return OwnRollouts(Sampler(engine, judge, config, hooks.should_stop), problems, config)


def pass_rates(result: StepResult) -> list[tuple[str, float]]:
    """Problem id and pass rate of each group of a step; tool errors do not count, and a group of them says nothing."""
    rates = []
    for group in result.rollouts:
        scored = [rollout for rollout in group if rollout.verdict.is_scored]
        if scored:
            rates.append((scored[0].problem_id, sum(rollout.verdict.passed for rollout in scored) / len(scored)))
    return rates
