"""What sampling beside training brings on this machine: one run four times, each in processes of its own.

`alone`: the trainer samples, judges and updates in turn. `in step`: a rollout worker samples and judges, in turn with
the trainer (`max_staleness` 0). `behind`: it works while the trainer updates (`max_staleness` 1), with half of the
threads for each of the two, and once with all for both. All sample as many tokens: the learning rate is 0, and rewards
are coins, so that an untrained policy has something to train on. Behind the trainer an update has one forward pass
more, for importance weights. The first and the last step are left out: the one has nothing to overlap with, the other
nothing to sample beside it.

`hidden` is the share of the shorter of the two, sampling with judging or updating, that the other one hides; `sampling`
and `training` say how many times as long a token took as in the first run, which is where sharing cores shows. What
counts is `speed` alone: tokens a second of the clock over those of the first run.
Run: python benchmarks/async_step.py [--json] [--steps 6]
"""

import itertools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click

_COUNTED = ("num_tokens", "perf/sample_s", "perf/judge_s", "perf/train_s")
_WITH_WORKERS = ("perf/wait_s", "perf/publish_s")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
@click.option("--config", default="configs/earl-fast.toml", show_default=True)
@click.option("--model", default="smollm2-135m-instruct", show_default=True)
@click.option("--steps", default=6, show_default=True, help="Of each run; the first and the last do not count.")
@click.option("--problems", default=4, show_default=True)
@click.option("--group-size", default=8, show_default=True)
@click.option("--max-tokens", default=96, show_default=True)
@click.option("--threads", default=2, show_default=True, help="Of torch, in all.")
def main(  # noqa: PLR0913  (one a command-line option)
    as_json: bool,
    config: str,
    model: str,
    steps: int,
    problems: int,
    group_size: int,
    max_tokens: int,
    threads: int,
) -> None:
    """Time the same steps with and without a rollout worker."""
    if steps < 3:
        raise click.UsageError(f"--steps must be at least 3, the first and the last do not count; got {steps}")
    common = {
        "model.path": model,
        "train.num_steps": steps,
        "train.num_problems": problems,
        "train.group_size": group_size,
        "train.learning_rate": 0.0,
        "train.checkpoint_every": 0,
        "sampling.max_tokens": max_tokens,
        "reward.control": "random",
        "problems.num_problems": 4 * problems,
        "log.signs.is_on": False,
    }
    half = max(1, threads // 2)
    runs = {
        "alone": (0, 0, threads),
        "in step": (0, 1, threads),
        f"behind, {half} threads each": (1, 1, half),
        f"behind, {threads} threads each": (1, 1, threads),
    }
    report: dict[str, dict[str, float]] = {}
    for name, (staleness, workers, num_threads) in runs.items():
        rollout = {"rollout.max_staleness": staleness, "rollout.num_workers": workers, "run.num_threads": num_threads}
        report[name] = _figures(_run(config, common | rollout))
        first = next(iter(report.values()))
        report[name] |= _against(report[name], first)
        if not as_json:
            click.echo(_line(name, report[name]))
    if as_json:
        click.echo(json.dumps(report, indent=2))


def _run(config: str, settings: dict[str, object]) -> list[dict[str, float]]:
    """The metrics of a run, a row a step."""
    with tempfile.TemporaryDirectory(prefix="earl-async-") as folder:
        overrides = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
        command = "from earl.cli import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", command, "train", config, *overrides, f"run.dir={folder}", "run.name=run"],
            capture_output=True,
            text=True,
            env=os.environ | {"OMP_WAIT_POLICY": "passive"},
        )
        if done.returncode:
            raise click.ClickException(f"earl train ended with code {done.returncode}:\n{done.stderr[-2000:]}")
        return [json.loads(line) for line in Path(folder, "run", "metrics.jsonl").read_text().splitlines()]


def _figures(rows: list[dict[str, float]]) -> dict[str, float]:
    """Means a step over the steps that count. `rest_s` is what none of the others explains: logs, weights, digests."""
    counted = rows[1:-1]
    walls = [after["perf/unix_time"] - before["perf/unix_time"] for before, after in itertools.pairwise(rows[:-1])]
    names = [name for name in (*_COUNTED, *_WITH_WORKERS) if name in counted[0]]
    means = {name.rpartition("/")[2]: sum(row[name] for row in counted) / len(counted) for name in names}
    wall_s, rollout_s = sum(walls) / len(walls), means["sample_s"] + means["judge_s"]
    waited_s = means.get("wait_s", rollout_s)
    shorter = min(rollout_s, means["train_s"])
    return {
        "step_s": wall_s,
        "tokens_per_s": means["num_tokens"] / wall_s,
        **means,
        "rest_s": wall_s - waited_s - means["train_s"] - means.get("publish_s", 0.0),
        "hidden": max(0.0, rollout_s - waited_s) / shorter if shorter else 0.0,
    }


def _against(figures: dict[str, float], first: dict[str, float]) -> dict[str, float]:
    """How many times as fast, and how many times as long a token took to sample and to train on."""

    def per_token(of: dict[str, float], name: str) -> float:
        return of[name] / of["num_tokens"]

    return {
        "speed": figures["tokens_per_s"] / first["tokens_per_s"],
        "sampling": per_token(figures, "sample_s") / per_token(first, "sample_s"),
        "training": per_token(figures, "train_s") / per_token(first, "train_s"),
    }


def _line(name: str, of: dict[str, float]) -> str:
    where = f"sampling {of['sample_s']:.1f} s, judging {of['judge_s']:.1f}, updating {of['train_s']:.1f}"
    if "wait_s" in of:
        where += f", publishing weights {of['publish_s']:.1f}; the trainer waited {of['wait_s']:.1f}"
    return (
        f"{name}: {of['tokens_per_s']:.0f} tokens/s, {of['speed']:.2f}x; a step {of['step_s']:.1f} s: {where},"
        f" rest {of['rest_s']:.1f}; {of['hidden']:.0%} hidden; a token took {of['sampling']:.2f}x as long to sample and"
        f" {of['training']:.2f}x to train on"
    )


if __name__ == "__main__":
    main()
