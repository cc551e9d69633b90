"""Compares two results documents of one benchmark, problem by problem: what changed, and whether it is more than noise.

Where each problem has one answer (n = 1, or greedy sampling on both sides) the test is McNemar's, exact: of the
problems that changed, as many should be won as lost. Otherwise it is the paired bootstrap over problems of the
difference in pass@k. Noise here is that of the problems drawn and the answers sampled, not of other training runs.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binomtest, fisher_exact

from hdl_bench.results import FORMAT
from hdl_bench.statistics import bootstrap_interval, pass_at_k, resampled_means
from hdl_bench.text_files import read_text
from toolchain.errors import UsageError

Document = Mapping[str, Any]

SIGNIFICANCE = 0.05  # two-sided
_MIN_CHANGES = 6  # of the same sign: 2 / 2**6 < 0.05
RULES = ("hardened", "compatible")


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A problem of which the rate changed. Counts are (n, passed)."""

    problem_id: str
    before: tuple[int, int]
    after: tuple[int, int]
    p_value: float  # Fisher's exact test of this problem's samples alone; 1 where each side has one answer

    @property
    def points(self) -> float:
        """The change of the problem's pass rate in points of a hundred."""
        return 100 * (self.after[1] / self.after[0] - self.before[1] / self.before[0])

    @property
    def is_clear(self) -> bool:
        """Whether this problem alone shows it: its one answer changed, or its samples differ beyond noise."""
        return self.before[0] == self.after[0] == 1 or self.p_value < SIGNIFICANCE


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """B against A on the problems of both. `ci95` is of the difference, all three in fractions."""

    benchmark: str
    metric: str
    rule: str
    is_sound_only: bool
    num_problems: int
    before: float
    after: float
    ci95: tuple[float, float]
    test: str  # "mcnemar" | "bootstrap"
    p_value: float
    gained: tuple[Change, ...]  # the largest change first
    lost: tuple[Change, ...]
    problem_ids: tuple[str, ...]  # all that were compared
    left_out: tuple[str, ...]  # problems that one side lacks, or has too few samples of
    notes: tuple[str, ...]  # what else differs between the sides and may matter
    fail_below: float | None = None  # points of a hundred that B may be worse, whatever the noise

    @property
    def difference(self) -> float:
        return self.after - self.before

    @property
    def is_beyond_noise(self) -> bool:
        """Whether the sides differ: by McNemar's p, or by an interval without 0. A handful of problems that moved the
        same way make a narrow interval by chance, so with fewer than six one must be clear on its own."""
        if self.test == "mcnemar":
            return self.p_value < SIGNIFICANCE
        low, high = self.ci95
        changes = (*self.gained, *self.lost)
        is_enough = len(changes) >= _MIN_CHANGES or any(x.p_value * len(changes) < SIGNIFICANCE for x in changes)
        return is_enough and (low > 0 or high < 0)

    @property
    def is_regression(self) -> bool:
        """Whether B is worse, beyond noise."""
        return self.difference < 0 and self.is_beyond_noise

    @property
    def is_below(self) -> bool:
        """Whether B is worse by more points of a hundred than allowed."""
        return self.fail_below is not None and -100 * self.difference > self.fail_below + 1e-9

    @property
    def has_failed(self) -> bool:
        """Whether the gate is shut."""
        return self.is_regression or self.is_below


def read_results(path: Path) -> dict[str, Any]:
    """A results document. Raises UsageError for a file that is none."""
    try:
        document = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise UsageError(f"{path} is no JSON ({error.msg}, line {error.lineno}); give a results file") from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT:
        raise UsageError(
            f"{path} is no results file: its format is {found!r}, not {FORMAT!r}; "
            "write one with `earl score ... --json FILE` or `earl eval ... --out FILE`"
        )
    return document


def compare(
    before: Document,
    after: Document,
    *,
    metric: str = "pass@1",
    rule: str = "hardened",
    is_sound_only: bool = False,
    fail_below: float | None = None,
) -> Comparison:
    """Compare B (`after`) with A (`before`).

    Raises UsageError when they cannot be compared: another benchmark or other problems in it, no problem in common, a
    metric that one of them cannot give.
    """
    _require_comparable(before, after)
    k = _k_of(metric)
    counts = [_counts(document, rule, is_sound_only) for document in (before, after)]
    ids = [name for name in counts[0] if name in counts[1] and min(side[name][0] for side in counts) >= k]
    if not ids:
        raise UsageError(
            f"no problem has {k} or more samples by the {rule} rule on both sides, so {metric} cannot be compared"
        )
    values = [[pass_at_k(*side[name], k) for name in ids] for side in counts]
    differences = [b - a for a, b in zip(*values, strict=True)]
    is_mcnemar = k == 1 and _has_one_answer_each(before, after, counts, ids)
    changes = [_change(name, counts[0][name], counts[1][name]) for name in ids]
    changed = sorted((change for change in changes if change.points), key=lambda change: -abs(change.points))
    return Comparison(
        benchmark=before["benchmark"],
        metric=metric,
        rule=rule,
        is_sound_only=is_sound_only,
        num_problems=len(ids),
        before=math.fsum(values[0]) / len(ids),
        after=math.fsum(values[1]) / len(ids),
        ci95=bootstrap_interval(differences),
        test="mcnemar" if is_mcnemar else "bootstrap",
        p_value=mcnemar_p(differences) if is_mcnemar else bootstrap_p(differences),
        gained=tuple(change for change in changed if change.points > 0),
        lost=tuple(change for change in changed if change.points < 0),
        problem_ids=tuple(ids),
        left_out=tuple(name for name in dict.fromkeys([*counts[0], *counts[1]]) if name not in set(ids)),
        notes=tuple(_notes(before, after)),
        fail_below=fail_below,
    )


def mcnemar_p(differences_P: Sequence[float]) -> float:
    """McNemar's exact two-sided p of differences that are -1, 0 or 1: the sign test of those that are not 0."""
    num_won, num_lost = sum(value > 0 for value in differences_P), sum(value < 0 for value in differences_P)
    return float(binomtest(num_won, num_won + num_lost, 0.5).pvalue) if num_won + num_lost else 1.0


def bootstrap_p(differences_P: Sequence[float]) -> float:
    """Two-sided p that the mean difference is 0, by the share of resampled means on the other side of it."""
    means = resampled_means(differences_P)
    smaller = min(np.count_nonzero(means <= 0), np.count_nonzero(means >= 0))
    return min(1.0, 2 * (smaller + 1) / (len(means) + 1))


def _require_comparable(before: Document, after: Document) -> None:
    if before["benchmark"] != after["benchmark"]:
        raise UsageError(
            f"these cannot be compared: A is of {before['benchmark']}, B of {after['benchmark']}; "
            "give two results of one benchmark"
        )
    ours, theirs = before["hashes"]["dataset"], after["hashes"]["dataset"]
    if ours != theirs:
        raise UsageError(
            f"these cannot be compared: the problems of {before['benchmark']} differ (dataset hash {ours[:12]} in A, "
            f"{theirs[:12]} in B); score both on the same checkout"
        )


def _k_of(metric: str) -> int:
    name, _, k = metric.partition("@")
    if name != "pass" or not k.isdecimal() or int(k) < 1:
        raise UsageError(f"the metric {metric!r} is not of the form pass@K; use pass@1, pass@5, ...")
    return int(k)


def _counts(document: Document, rule: str, is_sound_only: bool) -> dict[str, tuple[int, int]]:
    """(n, passed) of each problem by a rule. UsageError when the document has no such rule."""
    chosen = {}
    for row in document["problems"]:
        if is_sound_only and not row["is_sound"]:
            continue
        if rule == "hardened":
            pair = (row["num_samples"], row["num_passed"])
        elif row["num_passed_compatible"] is None:
            raise UsageError(f"{document['benchmark']} was scored without upstream's rule; leave out --rule compatible")
        else:
            pair = (row["num_rows"], row["num_passed_compatible"])
        chosen[row["problem_id"]] = pair
    return chosen


def _has_one_answer_each(
    before: Document, after: Document, counts: Sequence[Mapping[str, tuple[int, int]]], ids: Sequence[str]
) -> bool:
    """Whether each problem passes or fails as a whole on both sides: one sample, or greedy ones that agree."""
    sides = zip((before, after), counts, strict=True)
    return all(
        all(side[name][0] == 1 for name in ids)
        or (document["config"]["temperature"] == 0 and all(side[name][1] in (0, side[name][0]) for name in ids))
        for document, side in sides
    )


def _change(name: str, before: tuple[int, int], after: tuple[int, int]) -> Change:
    table = [[passed, num - passed] for num, passed in (before, after)]
    return Change(problem_id=name, before=before, after=after, p_value=float(fisher_exact(table).pvalue))


def _notes(before: Document, after: Document) -> list[str]:
    """What differs between two comparable documents and could explain a change."""
    notes = []
    for name, advice in (
        ("judge", "score A's samples again with this version to be sure"),
        ("errata", "a problem counts as sound where both say so"),
        ("prompts", "the prompts are part of what is compared"),
    ):
        ours, theirs = before["hashes"].get(name), after["hashes"].get(name)
        if ours != theirs:
            notes.append(f"the {name} hash differs ({(ours or 'none')[:12]}, {(theirs or 'none')[:12]}): {advice}")
    for name in sorted({*before["versions"], *after["versions"]}):
        ours, theirs = before["versions"].get(name), after["versions"].get(name)
        if ours != theirs:
            notes.append(f"{name} {ours or 'absent'} in A, {theirs or 'absent'} in B")
    for name in ("temperature", "top_p", "max_tokens", "prompt_style", "num_shots"):
        ours, theirs = before["config"].get(name), after["config"].get(name)
        if ours != theirs:
            notes.append(f"{name}: {ours} in A, {theirs} in B")
    return notes
