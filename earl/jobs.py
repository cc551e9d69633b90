"""The jobs that commands are made of: warm start, training, evaluation, each with its live line."""

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
from earl.run_folder import RunFolder
from earl.sft import sft
from earl.train import train
from verifiers.connect import Judge
from verifiers.types import Problem


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
    return result.checkpoint.folder if result.num_steps == result.num_planned else None


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
