"""The jobs that commands are made of: warm start, training, evaluation, each with its live line."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from earl import checkpoint
from earl.config import Config
from earl.distil import Source, collect, examples_of, write_data_set
from earl.distil_select import select
from earl.engine import make_engine
from earl.evaluate import Evaluation, evaluate
from earl.hooks import Hooks
from earl.metrics import ProgressLine
from earl.policy import load_encoder, load_policy, load_trainable
from earl.run_folder import RunFolder
from earl.sft import sft
from earl.sft_data import Example, SftData
from earl.train import train
from hdl_bench.sampler import EngineSampler
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
    config: Config,
    run: RunFolder,
    data: SftData,
    session: Session,
    *,
    title: str = "warm start",
    is_resumed: bool = False,
) -> Path | None:
    """Train `model.path` on examples into `<run>/policy`. None when it was stopped before its last step.

    A resumed run goes on from its last checkpoint, or begins anew where it was killed before the first.
    """
    saved = checkpoint.newest(run.checkpoints) if is_resumed else None
    policy = load_trainable(str(saved.folder) if saved else config.model.path, config)
    line, hooks = session.hooks(title, _sft_text)
    with line:
        result = sft(policy, data, config, run.path, resumed=saved, hooks=hooks)
    if result.num_steps < result.num_planned:
        return None
    policy.save_whole(run.path / "policy")
    validation = "" if result.validation_loss is None else f", {result.validation_loss:.3f} on examples held out"
    session.console.print(f"{title}: loss {result.loss:.3f} nats a token in the last step{validation}")
    return run.path / "policy"


def _sft_text(metrics: dict[str, float]) -> str:
    return f"loss {metrics.get('loss', math.nan):.3f}  {metrics['perf/trained_tokens_per_s']:.0f} tok/s"


def run_distil(
    config: Config, run: RunFolder, problems: list[Problem], farm: Judge, session: Session
) -> list[Example] | None:
    """Sample `model.path` on problems and keep verified passes: the examples, also in `<run>/dataset.jsonl`.

    None when it was stopped before all was sampled and judged.
    """
    encoder = load_encoder(config.model.path, config.prompt)

    def open_sampler() -> EngineSampler:
        engine = make_engine(load_policy(config.model.path, config.prompt), config.sampling, dtype=config.model.dtype)
        return EngineSampler(engine, render=encoder.render, max_rows=config.sampling.max_rows)

    source = Source(problems=problems, render=encoder.render, open_sampler=open_sampler)
    line, hooks = session.hooks("sample", _distil_text)
    with line:
        attempts = collect(source, config, run.path, farm, hooks)
    if attempts is None:
        return None
    selection = select(attempts, keep=config.distil.keep)
    unscored = f" ({selection.num_unscored} could not be judged)" if selection.num_unscored else ""
    session.console.print(
        f"solved {selection.num_solved} of {selection.num_problems} problems; passed {selection.num_passed} of"
        f" {selection.num_samples} samples{unscored}\n"
        f"kept {len(selection.kept)} passes; dropped {selection.num_duplicates} duplicates, {selection.num_cut} cut by"
        f" length, {selection.num_surplus} beyond {config.distil.keep} a problem"
    )
    write_data_set(run, selection, config)
    return examples_of(selection)


def _distil_text(metrics: dict[str, float]) -> str:
    return f"judged {metrics['num_judged']:.0f}  passed {metrics['num_passed']:.0f}"


def run_train(
    config: Config, run: RunFolder, problems: list[Problem], farm: Judge, session: Session, *, is_resumed: bool = False
) -> Path | None:
    """Train `model.path`. The checkpoint's folder (Hugging Face layout), or None when it was stopped early."""
    line, hooks = session.hooks("train", training_text)
    with line:
        result = train(config, run, problems, farm, is_resumed=is_resumed, hooks=hooks)
    return result.checkpoint.folder if result.num_steps >= result.num_planned else None


def training_text(metrics: dict[str, float]) -> str:
    """What the live line of a training run says of a step."""
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
