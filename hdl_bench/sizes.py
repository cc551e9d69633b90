"""How large passing designs are beside the golden, after synthesis into generic gates: cells, wires, depth as ratios.

Only passes on problems with a golden count. A design or golden that Yosys does not synthesize, and a golden that has
none of what is counted (a wire has no cell), gives no ratio.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from hdl_bench.score import Score, ScoredRow, SizeRatios
from verifiers.golden_check import golden_of
from verifiers.synthesis import SynthesisStatistics, Synthesizer
from verifiers.types import Problem

FIGURES = ("cells", "wires", "depth")


def with_sizes(score: Score, synthesizer: Synthesizer, progress: Callable[[str, int, int], None]) -> Score:
    """The score with ratios on each passing row. Equal designs are synthesized once."""
    known: dict[tuple[str, str], SynthesisStatistics] = {}

    def statistics(text: str, top: str) -> SynthesisStatistics:
        if (text, top) not in known:
            known[text, top] = synthesizer.statistics(text, top)
        return known[text, top]

    rows = []
    for num_done, row in enumerate(score.rows, start=1):
        problem = score.benchmark.problems[row.sample.problem_id]
        if row.verdict.passed and row.candidate is not None and problem.oracle.golden is not None:
            row = replace(row, sizes=_ratios(problem, row.candidate, statistics))
        rows.append(row)
        progress("synthesis", num_done, len(score.rows))
    return replace(score, rows=tuple(rows))


def _ratios(problem: Problem, candidate: str, statistics: Callable[[str, str], SynthesisStatistics]) -> SizeRatios:
    golden, golden_top = golden_of(problem)
    ours, theirs = statistics(candidate, problem.top_module), statistics(golden, golden_top)
    if not (ours.is_synthesizable and theirs.is_synthesizable):
        return SizeRatios(cells=None, wires=None, depth=None)
    pairs = {
        "cells": (ours.num_cells, theirs.num_cells),
        "wires": (ours.num_wire_bits, theirs.num_wire_bits),
        "depth": (ours.depth, theirs.depth),
    }
    return SizeRatios(**{name: _ratio(*pair) for name, pair in pairs.items()})


def _ratio(ours: int, theirs: int) -> float | None:
    if ours == theirs:
        return 1.0
    return ours / theirs if ours and theirs else None


def sizes_of(rows: Iterable[ScoredRow]) -> dict[str, Any] | None:
    """Geometric means of the ratios over passes; None where no row was measured."""
    measured = [row.sizes for row in rows if row.sizes is not None]
    if not measured:
        return None
    means: dict[str, Any] = {"num_passes": len(measured)}
    for name in FIGURES:
        ratios = [ratio for sizes in measured if (ratio := getattr(sizes, name)) is not None]
        mean = math.exp(math.fsum(map(math.log, ratios)) / len(ratios)) if ratios else None
        means[name] = {"geometric_mean": mean, "num_passes": len(ratios)}
    return means
