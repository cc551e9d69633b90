"""The training loop: steps, logs, checkpoints, resume. What a step does is in `earl.step`."""

from dataclasses import dataclass

from earl import checkpoint
from earl.asynchronous.rollouts import WorkerRollouts
from earl.backends import Backends
from earl.completions_log import drop_completions, write_completions
from earl.config import Config
from earl.control.reference import make_reference
from earl.control.signs import Signs, recheck_metrics
from earl.engine import make_engine
from earl.farm_metrics import FarmMeter
from earl.farm_wait import Patience
from earl.guard import Guard, TrainingDiverged
from earl.hooks import Hooks, StepInterrupted
from earl.journal import VerdictJournal
from earl.metrics import MetricsLog
from earl.optimizers import make_optimizer
from earl.policy import Policy, load_trainable
from earl.problem_stream import ProblemSource, make_source
from earl.random_state import RandomState, seed_everything
from earl.resume_check import identity_of, keep_identity, problem_digests
from earl.rollout import RolloutJudge
from earl.rollout_source import OwnRollouts, RolloutSource, Sampler
from earl.run_folder import RunFolder
from earl.step import Learner, StepResult, train_step
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
    identity = identity_of(config, problem_digests(problems))
    keep_identity(run, identity)
    source = make_source(problems, config)
    saved = checkpoint.newest(run.checkpoints) if is_resumed else None
    step = saved.step if saved else 0
    policy = load_trainable(str(saved.folder) if saved else config.model.path, config)
    optimizer = make_optimizer(policy.model, config.optimizer, weight_decay=config.train.weight_decay)
    reference = make_reference(config, policy.model)
    journal = VerdictJournal(run.path / "verdicts.jsonl")
    if journal.num_damaged:
        hooks.warn(f"{journal.num_damaged} lines of the journal verdicts.jsonl are damaged; these are judged again")
    log = MetricsLog(run.metrics_path, last_step=step)
    drop_completions(run.completions_folder, after=step)
    signs, guard, meter = Signs(config.log.signs), Guard(run.path / "skipped", hooks.warn), FarmMeter(farm)
    backends = Backends(config, run.path, last_step=step, warn=hooks.warn)
    patience = Patience(limit_s=config.verifier.wait_s, hooks=hooks)
    judge = RolloutJudge(farm, journal, config.reward, config.run.seed, patience)
    rollouts = _rollout_source(config, run, policy, source, judge, hooks)
    learner = Learner(
        config=config,
        policy=policy,
        reference=reference,
        optimizer=optimizer,
        rollouts=rollouts,
    )
    carried = {"problems": source, "rollouts": rollouts, "signs": signs, "guard": guard, "random": RandomState()}
    carried |= {"reference": reference} if reference else {}
    if saved:
        checkpoint.load_optimizer(saved, optimizer)
        state = checkpoint.load_state(saved)
        for name, part in carried.items():
            if name in state:  # a part that a forced change of the config brings in starts anew
                part.load_state_dict(state[name])

    def save() -> checkpoint.Checkpoint:
        if saved is not None and saved.step == step:
            return saved
        state = {name: part.state_dict() for name, part in carried.items()} | {"identity": identity}
        return checkpoint.save(
            run.checkpoints, step, policy, optimizer, keep=config.train.keep_checkpoints, state=state
        )

    try:
        rollouts.publish(step)
        while step < config.train.num_steps and not hooks.should_stop():
            try:
                result = train_step(learner, step + 1)
            except StepInterrupted:
                break
            step += 1
            source.observe(pass_rates(result))
            if reference:
                reference.update(policy.model, step)
            rollouts.publish(step)
            metrics = result.metrics | rollouts.metrics()
            metrics |= recheck_metrics(judge, result, step, config.log.signs) | meter.metrics()
            metrics["perf/verdicts_reused"] = float(judge.take_reused())
            if config.log.backends:
                metrics["perf/backend_failures"] = float(backends.num_failures)
            log.write(step, metrics)
            backends.write(step, metrics)
            for advice in signs.update(metrics):
                hooks.warn(f"step {step}: {advice}")
            write_completions(run.completions_path(step, config.log.completions), step, result)
            guard.hear(step, result)
            hooks.on_step(step, config.train.num_steps, metrics)
            if config.train.checkpoint_every and step % config.train.checkpoint_every == 0:
                saved = save()
        saved = save()
    except (InfrastructureError, TrainingDiverged):
        save()
        raise
    finally:
        rollouts.close()
        backends.close()
        log.close()
        journal.close()
    return TrainResult(num_steps=step, num_planned=config.train.num_steps, checkpoint=saved)


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
