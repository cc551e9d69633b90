"""The jobs that commands are made of: warm start, training, evaluation, each with its live line."""

from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from earl import checkpoint
from earl.config import Config
from earl.engine import make_engine
from earl.evaluate import Evaluation, evaluate
from earl.metrics import ProgressLine
from earl.policy import load_encoder, load_policy, save_policy
from earl.run_folder import RunFolder
from earl.sft import sft
from earl.train import train
from verifiers.farm import Farm
from verifiers.types import Problem


def run_sft(
    config: Config,
    run: RunFolder,
    problems: list[Problem],
    console: Console,
    *,
    is_resumed: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> Path | None:
    """Warm-start `model.path` into `<run>/policy`. None when it was stopped before its last step."""
    saved = checkpoint.latest(run.checkpoints) if is_resumed else None
    model = load_policy(str(saved.folder) if saved else config.model.path)
    encoder = _encoder(config)
    with ProgressLine(console, "warm start", total=1) as line:

        def show(step: int, total: int, metrics: dict[str, float]) -> None:
            line.set_total(total)
            text = f"loss {metrics['loss']:.3f}  {metrics['perf/trained_tokens_per_s']:.0f} tok/s"
            line.update(step, text, every_s=10)

        result = sft(
            model,
            encoder,
            problems,
            config,
            folder=run.path,
            first_step=saved.step if saved else 0,
            should_stop=should_stop,
            on_step=show,
        )
    if result.num_steps < result.num_planned:
        return None
    save_policy(model, encoder, run.path / "policy")
    return run.path / "policy"


def run_train(
    config: Config,
    run: RunFolder,
    problems: list[Problem],
    farm: Farm,
    console: Console,
    *,
    is_resumed: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
) -> Path | None:
    """Train `model.path`. The checkpoint's folder (Hugging Face layout), or None when it was stopped early."""
    with ProgressLine(console, "train", total=config.train.num_steps) as line:

        def show(step: int, metrics: dict[str, float]) -> None:
            line.update(step, _training_text(metrics))

        result = train(config, run, problems, farm, is_resumed=is_resumed, should_stop=should_stop, on_step=show)
    return result.checkpoint.folder if result.num_steps == result.num_planned else None


def _training_text(metrics: dict[str, float]) -> str:
    return (
        f"reward {metrics['reward']:.2f}  pass {metrics['pass_rate']:.0%}  entropy {metrics['entropy']:.3f}"
        f"  kept {metrics.get('gate/kept_fraction', 0.0):.0%}"
        f"  {metrics['perf/sampled_tokens_per_s']:.0f}+{metrics['perf/trained_tokens_per_s']:.0f} tok/s"
        f"  {metrics['perf/step_s']:.0f} s"
    )


def run_eval(config: Config, problems: list[Problem], farm: Farm, console: Console) -> Evaluation:
    """Measure `model.path` on held-out problems."""
    model, encoder = load_policy(config.model.path), _encoder(config)
    engine = make_engine(
        config.sampling.engine, model, encoder, dtype=config.model.dtype, max_rows=config.sampling.max_rows
    )
    with console.status("evaluating") as status:
        return evaluate(engine, farm, problems, config, on_phase=lambda phase: status.update(f"evaluating: {phase}"))


def _encoder(config: Config):
    return load_encoder(config.model.path, template=config.prompt.template, max_tokens=config.prompt.max_tokens)
