"""Whether equal seeds give equal verdicts: many designs, judged again and again in different company.

The runs are dealt over one worker and several, beside burning processes and without; the order of the designs, and so
who shares a batch with whom, is another one in each run. A flip is a verdict that differs in anything but its duration.
Run: python benchmarks/determinism.py [--designs 200] [--runs 20] [--json]
"""

import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import click
from design_mix import draw_designs

from verifiers.farm import Farm
from verifiers.seeds import EVAL_SEEDS
from verifiers.types import Problem, Verdict

_SETTINGS = tuple((num_workers, is_loaded) for num_workers in (1, 4) for is_loaded in (False, True))


@click.command()
@click.option("--designs", "num_designs", default=200, show_default=True, help="Different designs.")
@click.option("--runs", "num_runs", default=20, show_default=True, help="Runs of each, over all settings.")
@click.option("--traps", "num_traps", default=3, show_default=True, help="Designs that hang, print or swell (0 to 6).")
@click.option("--seed", default=0, show_default=True, help="Of the draw of designs.")
@click.option("--isolation", default="auto", show_default=True)
@click.option("--json", "is_json", is_flag=True, help="One JSON object instead of the table.")
def main(num_designs: int, num_runs: int, num_traps: int, seed: int, isolation: str, is_json: bool) -> None:
    """Judge the same designs many times; exit code 1 if any verdict differs."""
    designs = draw_designs(num_designs, seed, num_traps=num_traps)
    first: dict[int, Verdict] = {}
    flips: list[str] = []
    rows = []
    for number, (num_workers, is_loaded) in enumerate(_SETTINGS):
        runs = range(number, num_runs, len(_SETTINGS))
        started = time.monotonic()
        num_burning = 2 * (os.cpu_count() or 1) if is_loaded else 0
        with burning(num_burning), Farm(num_workers=num_workers, isolation=isolation) as farm:
            for run in runs:
                flips += judge(farm, designs, run, first)
            stats = farm.stats()
        rows.append(
            {
                "num_workers": num_workers,
                "is_loaded": is_loaded,
                "num_verdicts": stats.num_judged,
                "seconds": round(time.monotonic() - started, 1),
                "num_groups": stats.num_groups,
                "num_reruns_alone": stats.num_reruns_alone,
                "num_batch_alarms": stats.num_batch_alarms,
                "load": round(os.getloadavg()[0], 1),
            }
        )
        click.echo(rows[-1], err=True)
    outcomes = Counter(verdict.outcome.value for verdict in first.values())
    report = {"num_designs": len(designs), "num_runs": num_runs, "num_flips": len(flips), "outcomes": dict(outcomes)}
    if is_json:
        click.echo(json.dumps({**report, "settings": rows, "flips": flips}, indent=2))
    else:
        click.echo("\n".join([str(report), *flips]))
    sys.exit(1 if flips else 0)


def judge(farm: Farm, designs: list[tuple[Problem, str]], run: int, first: dict[int, Verdict]) -> list[str]:
    """Judge all designs in an order of the run's own. What differs from `first`, which it fills, in words."""
    order = random.Random(run).sample(range(len(designs)), len(designs))
    judgements = farm.judge_all([(*designs[index], EVAL_SEEDS) for index in order])
    flips = []
    for index, judgement in zip(order, judgements, strict=True):
        verdict = replace(judgement.verdict, duration_s=0.0)
        if verdict != first.setdefault(index, verdict):
            flips.append(f"design {index} of {designs[index][0].problem_id}, run {run}: {verdict} was {first[index]}")
    return flips


@contextmanager
def burning(num_processes: int) -> Iterator[None]:
    """So many processes that compute for nothing, for the time of the context."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(num_processes)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
