"""Throws damaged designs and random bytes at the farm: nothing may escape, hang or crash.

Every text must get a scored verdict, no worker may be lost to one, and a pass must hold under further seeds (a design
that is damaged and yet right is possible; one that is right by luck or by trick is an escape).
Run: python benchmarks/fuzz.py [--texts 5000] [--seed 0] [--json]
"""

import json
import random
import sys
from collections import Counter
from pathlib import Path

import click
from design_mix import draw_designs
from text_mutations import damaged, noise

from verifiers.farm import Farm
from verifiers.judgement import Judgement
from verifiers.seeds import group_seed
from verifiers.types import Problem

_FORGED = Path(__file__).resolve().parents[1] / "tests" / "adversarial"
_NOISE_SHARE = 0.1
_SLOW_S = 20.0  # a verdict on one design that takes longer, limits and all, is a finding


@click.command()
@click.option("--texts", "num_texts", default=5000, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--workers", "num_workers", default=2, show_default=True)
@click.option("--json", "is_json", is_flag=True)
def main(num_texts: int, seed: int, num_workers: int, is_json: bool) -> None:
    """Judge damaged texts; exit code 1 if anything escapes, hangs or crashes."""
    rng = random.Random(f"fuzz {seed}")
    jobs = [
        (problem, text, (group_seed(seed, problem.problem_id, 0),)) for problem, text in texts(num_texts, rng, seed)
    ]
    with Farm(num_workers=num_workers) as farm:
        judgements = farm.judge_all(jobs)
        passed = [job for job, judgement in zip(jobs, judgements, strict=True) if judgement.verdict.passed]
        seeds = tuple(group_seed(seed, "fuzz", epoch) for epoch in range(1, 5))
        again = farm.judge_all([(problem, text, seeds) for problem, text, _ in passed])
        stats = farm.stats()
    findings = [
        f"{found}: {job[1]!r}" for job, judgement in zip(jobs, judgements, strict=True) if (found := fault(judgement))
    ]
    lucky = [
        f"passes under one seed of five: {job[1]!r}"
        for job, more in zip(passed, again, strict=True)
        if not more.verdict.passed
    ]
    report = {
        "num_texts": num_texts,
        "outcomes": dict(Counter(judgement.verdict.outcome.value for judgement in judgements)),
        "longest_s": round(max(judgement.verdict.duration_s for judgement in judgements), 2),
        "num_workers_lost": stats.num_workers_lost,
        "num_batch_alarms": stats.num_batch_alarms,
        "num_lucky_passes": len(lucky),
        "num_findings": len(findings),
    }
    click.echo(json.dumps({**report, "findings": findings, "lucky": lucky}, indent=2) if is_json else str(report))
    for finding in () if is_json else [*findings, *lucky]:
        click.echo(finding)
    sys.exit(1 if findings or stats.num_workers_lost or stats.num_batch_alarms else 0)


def texts(num_texts: int, rng: random.Random, seed: int) -> list[tuple[Problem, str]]:
    """Problems and damaged texts: procedural designs and the forged ones of the tests, in bits and pieces."""
    designs = draw_designs(200, seed, num_traps=0)
    forged = [path.read_text(encoding="utf-8", errors="replace") for path in sorted(_FORGED.glob("*.v"))]
    drawn = []
    for _ in range(num_texts):
        problem, text = rng.choice(designs)
        if rng.random() < _NOISE_SHARE:
            drawn.append((problem, noise(rng, rng.randint(0, 3000))))
            continue
        other = rng.choice(forged) if rng.random() < 0.5 else rng.choice(designs)[1]
        drawn.append((problem, damaged(text, other, rng)))
    return drawn


def fault(judgement: Judgement) -> str:
    """What is wrong with the handling of a text; empty when nothing is."""
    verdict = judgement.verdict
    if not verdict.is_scored:
        return f"tool error ({'; '.join(found.message for found in verdict.diagnostics)})"
    return f"took {verdict.duration_s:.0f} s" if verdict.duration_s > _SLOW_S else ""


if __name__ == "__main__":
    main()
