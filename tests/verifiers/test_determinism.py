"""Equal seeds give equal verdicts, whoever else is judged and however busy the machine is: a small sample of it.

`benchmarks/determinism.py` does the same with hundreds of designs.
"""

import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from hdl_bench.procedural.problems import make_problems
from verifiers.farm import Farm
from verifiers.types import Problem, Verdict

pytestmark = pytest.mark.tool

_NUM_PROBLEMS = 6
_SEEDS = (11, 12)


def _designs() -> list[tuple[Problem, str]]:
    """For each problem its golden, one with an operator exchanged, one of another problem, and a broken one."""
    problems = make_problems(families=None, levels=(1, 2, 3), split="train", num_problems=_NUM_PROBLEMS, seed=5)
    designs = []
    for problem, other in zip(problems, problems[1:] + problems[:1], strict=True):
        golden = problem.oracle.golden
        wrong = golden.replace("&", "|") if "&" in golden else golden.replace("+", "-")
        designs += [(problem, text) for text in (golden, wrong, other.oracle.golden, golden[:-20])]
    return designs


def _verdicts(farm: Farm, designs: list[tuple[Problem, str]], order: list[int]) -> dict[int, Verdict]:
    judgements = farm.judge_all([(*designs[index], _SEEDS) for index in order])
    return {
        index: replace(judgement.verdict, duration_s=0.0) for index, judgement in zip(order, judgements, strict=True)
    }


def test_verdicts_do_not_depend_on_workers_order_or_load():
    designs = _designs()
    order = list(range(len(designs)))
    with Farm(num_workers=1, isolation="rlimits") as farm:
        expected = _verdicts(farm, designs, order)
        random.Random(1).shuffle(order)
        assert _verdicts(farm, designs, order) == expected
    outcomes = Counter(verdict.outcome.value for verdict in expected.values())
    assert outcomes["passed"] >= _NUM_PROBLEMS
    assert len(outcomes) >= 3
    burning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        with Farm(num_workers=3, isolation="rlimits") as farm:
            for seed in (2, 3):
                random.Random(seed).shuffle(order)
                assert _verdicts(farm, designs, order) == expected
    finally:
        for process in burning:
            process.kill()
            process.wait()
