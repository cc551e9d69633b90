"""Overlap from and to files: the items of benchmarks and of training sets, and a set without what overlaps."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hdl_bench.benchmarks import load_benchmark
from hdl_bench.overlap import Item, Overlap, Protected, item_of
from hdl_bench.problem_row import parse_row
from hdl_bench.problem_source import read_rows
from toolchain.errors import UsageError
from verifiers.types import Problem


def protected_items(names: Sequence[str]) -> list[tuple[str, list[Item]]]:
    """The items of benchmarks given as BENCHMARK:ROOT. UsageError for another form, and as the loaders raise."""
    benchmarks = []
    for text in names:
        name, separator, root = text.partition(":")
        if not separator or not root:
            raise UsageError(f"a benchmark to protect is BENCHMARK:ROOT, for example jsonl:heldout.jsonl; got {text!r}")
        benchmark = load_benchmark(name, Path(root))
        benchmarks.append((benchmark.name, [item_of(problem) for problem in benchmark.problems.values()]))
    return benchmarks


def training_rows(path: Path) -> list[tuple[Item, Any]]:
    """The rows of a training set, each with what is compared of it; what would judge an answer may be missing.

    Raises as `hdl_bench.problem_files.read_problems`, and UsageError for a row without prompt and golden.
    """
    rows = []
    for row in read_rows(path):
        try:
            parsed = parse_row(row)
        except UsageError as error:
            raise UsageError(f"{row.where}: {error}") from error
        if isinstance(parsed, Problem):
            item = item_of(parsed)
        else:
            item = Item(
                item_id=parsed.problem_id or row.default_id, prompt=parsed.prompt_text, golden=parsed.golden or ""
            )
        if not item.prompt.strip() and not item.golden.strip():
            raise UsageError(f"{row.where} has neither a prompt nor a golden: nothing can be compared")
        rows.append((item, row.data))
    return rows


def without_overlaps(problems: Sequence[Problem], protected: Protected) -> tuple[list[Problem], list[Overlap]]:
    """The problems that overlap with nothing protected, and for each other one its closest overlap."""
    kept, removed = [], []
    for problem in problems:
        overlaps = protected.overlaps(item_of(problem))
        if overlaps:
            removed.append(overlaps[0])
        else:
            kept.append(problem)
    return kept, removed
