"""The jobs that commands are made of: warm start, training, evaluation, each with its live line."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from earl import checkpoint
from earl.config import Config
from earl.engine import make_engine
from earl.evaluate import Evaluation, evaluate
from earl.hooks import Hooks
from earl.metrics import ProgressLine
from earl.policy import load_policy
from earl.resume_check import identity_of, keep_identity
from earl.run_folder import RunFolder
from earl.sft import sft
from earl.train import train
from verifiers.connect import Judge
from verifiers.types import Problem

OVERFIT_TARGET = 0.9  # pass rate at which a policy has learnt its one problem


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """The person at the other end: where to write to them, and whether they asked to stop."""

    console: Console
    should_stop: Callable[[], bool]

    def hooks(self, title: str, text: Callable[[dict[str, float]], str]) -> tuple[ProgressLine, Hooks]:
        """A live line called `title`, and hooks that move it."""
        line = ProgressLine(self.console, title)

        def show(step: int, num_steps: int, metrics: dict[str, float]) -> None:
            line.update(step, num_steps, text(metrics))

        def warn(warning: str) -> None:
            self.console.print(f"[yellow]warning[/yellow] {escape(warning)}", soft_wrap=True)

        return line, Hooks(should_stop=self.should_stop, on_step=show, warn=warn)


def run_sft(
    config: Config, run: RunFolder, problems: list[Problem], session: Session, *, is_resumed: bool = False
) -> Path | None:
    """Warm-start `model.path` into `<run>/policy`. None when it was stopped before its last step."""
    keep_identity(run, identity_of(config, problems))
    saved = checkpoint.latest(run.checkpoints) if is_resumed else None
    policy = load_policy(str(saved.folder) if saved else config.model.path, config.prompt)
    line, hooks = session.hooks("warm start", _warm_start_text)
    with line:
        result = sft(policy, problems, config, run.path, resumed=saved, hooks=hooks)
    if result.num_steps < result.num_planned:
        return None
    policy.save(run.path / "policy")
    return run.path / "policy"


def _warm_start_text(metrics: dict[str, float]) -> str:
    return f"loss {metrics['loss']:.3f}  {metrics['perf/trained_tokens_per_s']:.0f} tok/s"


def run_train(
    config: Config, run: RunFolder, problems: list[Problem], farm: Judge, session: Session, *, is_resumed: bool = False
) -> Path | None:
    """Train `model.path`. The checkpoint's folder (Hugging Face layout), or None when it was stopped early."""
    line, hooks = session.hooks("train", _training_text)
    with line:
        result = train(config, run, problems, farm, is_resumed=is_resumed, hooks=hooks)
    return result.checkpoint.folder if result.num_steps >= result.num_planned else None


def run_overfit(
    config: Config, run: RunFolder, problem: Problem, farm: Judge, session: Session, *, is_resumed: bool = False
) -> list[float]:
    """Train on one problem until `OVERFIT_TARGET` of a step's rollouts pass. The pass rates of this run's steps."""
    line, hooks = session.hooks("overfit", _training_text)
    rates: list[float] = []

    def on_step(step: int, num_steps: int, metrics: dict[str, float]) -> None:
        rates.append(metrics["pass_rate"])
        hooks.on_step(step, num_steps, metrics)

    def should_stop() -> bool:
        return session.should_stop() or (bool(rates) and rates[-1] >= OVERFIT_TARGET)

    hooks_with_target = dataclasses.replace(hooks, should_stop=should_stop, on_step=on_step)
    with line:
        train(config, run, [problem], farm, is_resumed=is_resumed, hooks=hooks_with_target)
    return rates


def overfit_config(config: Config) -> Config:
    """The config with all rollouts of a step on one problem."""
    size = config.train.num_problems * config.train.group_size
    settings = {"num_problems": 1, "group_size": size, "num_minibatches": 1}
    groups = {"filter": "none", "params": {}, "max_rounds": 0}  # there is no other problem to sample
    return config.model_copy(
        update={
            "train": config.train.model_copy(update=settings),
            "groups": config.groups.model_copy(update=groups),
        }
    )


def _training_text(metrics: dict[str, float]) -> str:
    return (
        f"reward {metrics['reward']:.2f}  pass {metrics['pass_rate']:.0%}  entropy {metrics['entropy']:.3f}"
        f"  kept {metrics.get('gate/kept_fraction', 0.0):.0%}"
        f"  {metrics['perf/sampled_tokens_per_s']:.0f} tok/s  {metrics['perf/step_s']:.0f} s/step"
    )


def run_eval(config: Config, problems: list[Problem], farm: Judge, session: Session) -> Evaluation:
    """Measure `model.path` on held-out problems."""
    policy = load_policy(config.model.path, config.prompt)
    engine = make_engine(policy, config.sampling, dtype=config.model.dtype)
    with session.console.status("evaluating") as status:
        return evaluate(engine, farm, problems, config, on_phase=lambda phase: status.update(f"evaluating: {phase}"))
