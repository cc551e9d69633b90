"""The main job from end to end: warm start, evaluate, train, evaluate, report, and one summary of it all."""

import dataclasses
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from earl.config import Config
from earl.data import evaluation_problems, training_problems
from earl.evaluate import Evaluation, paired_gain
from earl.jobs import Session, run_eval, run_sft, run_train
from earl.report import write_report
from earl.run_folder import RunFolder, package_versions
from earl.sft_data import sft_data
from earl.tables import evaluation_table
from verifiers.connect import Judge
from verifiers.versions import tool_versions


def run_demo(config: Config, run: RunFolder, farm: Judge, session: Session) -> bool:
    """Run all phases in `run`; the warm start's own files lie in `<run>/sft`. False when stopped early."""
    wall_s: dict[str, float] = {}
    tell = session.console.print
    examples, problems = sft_data(config, tell), training_problems(config, tell)
    heldout = evaluation_problems(config)

    def timed(phase: str, job: Callable[[], Any]) -> Any:
        started = time.monotonic()
        session.console.print(f"[bold]{phase}[/bold]")
        result = job()
        wall_s[phase] = round(time.monotonic() - started, 2)
        return result

    warm_run = RunFolder(run.path / "sft")
    warm_run.path.mkdir()
    warm = timed("warm start", lambda: run_sft(config, warm_run, examples, session))
    if warm is None or session.should_stop():
        return False
    config = with_model(config, warm)
    before = timed("evaluate before", lambda: run_eval(config, heldout, farm, session))
    run.write_json("eval_before.json", [dataclasses.asdict(score) for score in before.scores])
    if session.should_stop():
        return False
    trained = timed("train", lambda: run_train(config, run, problems, farm, session))
    if trained is None or session.should_stop():
        return False
    after = timed("evaluate after", lambda: run_eval(with_model(config, trained), heldout, farm, session))
    run.write_json("eval_after.json", [dataclasses.asdict(score) for score in after.scores])
    run.write_json("summary.json", summarise(before, after, wall_s, config))
    timed("report", lambda: write_report(run.path))
    session.console.print(evaluation_table([("warm start", before), ("after RL", after)]))
    gain, (low, high) = paired_gain(before, after)
    session.console.print(
        f"sampled pass@1 changed by {gain * 100:+.1f} points (95 % interval {low * 100:+.1f} to {high * 100:+.1f})"
        f" in {sum(wall_s.values()) / 60:.1f} minutes; report: {run.path / 'report.html'}"
    )
    return True


def with_model(config: Config, folder: Path) -> Config:
    """The config with another policy."""
    return config.model_copy(update={"model": config.model.model_copy(update={"path": str(folder)})})


def summarise(before: Evaluation, after: Evaluation, wall_s: dict[str, float], config: Config) -> dict[str, Any]:
    """What summary.json holds."""
    gain, interval = paired_gain(before, after)
    return {
        "before": before.summary(),
        "after": after.summary(),
        "gain": gain,
        "ci95": list(interval),
        "by_family": {"before": before.by_family(), "after": after.by_family()},
        "wall_s": wall_s | {"total": round(sum(wall_s.values()), 2)},
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,  # of this process, no worker
        "seed": config.run.seed,
        "versions": package_versions() | tool_versions(),
    }
