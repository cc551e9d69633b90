"""Which problems: the sets that a config names, kept apart from held-out ones and from benchmarks."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from earl.config import Config
from hdl_bench.overlap import Overlap, Protected, item_of
from hdl_bench.overlap_sources import protected_items, without_overlaps
from hdl_bench.problem_files import read_problems
from hdl_bench.procedural.problems import draw_problems, make_problems
from toolchain.errors import UsageError
from verifiers.types import Problem

Tell = Callable[[str], None]


def tell_nothing(line: str) -> None:
    """For who does not want to hear what was left out."""


def training_problems(config: Config, tell: Tell = tell_nothing) -> list[Problem]:
    """The RL problems of a config: the user's own files, or the training split of procedural problems.

    Without those that are too close to a benchmark of `problems.exclude`, or that are copies of a held-out problem,
    names apart; procedural ones are drawn on until there are enough. `tell` gets a line on what was left out.
    """
    return _protected(config, config.problems.num_problems, config.run.seed, tell)


def warm_start_problems(config: Config, tell: Tell = tell_nothing) -> list[Problem]:
    """The problems of the warm start: as the RL problems, but another draw, and each with a golden to learn from."""
    problems = _protected(config, config.sft.num_examples, config.run.seed + 1_000_003, tell)
    problems = [problem for problem in problems if problem.oracle.golden is not None]
    if not problems:
        raise UsageError("no problem of problems.files has a golden; a warm start learns from goldens")
    return problems


def _protected(config: Config, num_wanted: int, seed: int, tell: Tell) -> list[Problem]:
    protected = guards(config)
    num_drawn = num_wanted
    while True:
        files = config.problems.files
        drawn = _own(files, num_drawn, seed) if files else _procedural(config, num_drawn, seed)
        kept, removed = drawn, []
        for guard in protected:
            kept, found = without_overlaps(kept, guard)
            removed += found
        if len(kept) >= num_wanted or len(drawn) < num_drawn:
            break
        num_drawn += num_wanted - len(kept)
    tell_removed(removed, len(drawn), "training problems", tell)
    return kept


def tell_removed(removed: list[Overlap], num_all: int, what: str, tell: Tell) -> None:
    """One line on what was left out of `num_all`, and why; none when nothing was."""
    if removed:
        counts = Counter(f"{overlap.benchmark}, {overlap.reason}" for overlap in removed)
        words = "; ".join(f"{count} ({why})" for why, count in counts.items())
        tell(f"left out {len(removed)} of {num_all} {what} as too close to protected ones: {words}")


def guards(config: Config) -> list[Protected]:
    """Benchmarks by their words too; held-out problems, whose wording is the training problems' own, by equality."""
    benchmarks = [Protected(protected_items(config.problems.exclude))] if config.problems.exclude else []
    items = [item_of(problem) for problem in _held_out(config, draw_problems)]
    return [*benchmarks, Protected([("held-out", items)], min_containment=None)]


def _own(files: Sequence[str], num_problems: int, seed: int) -> list[Problem]:
    """At most so many problems of the user's files, drawn by seed, in the files' order."""
    problems = [problem for file in files for problem in read_problems(Path(file))]
    chosen = sorted(random.Random(seed).sample(range(len(problems)), min(num_problems, len(problems))))
    return [problems[index] for index in chosen]


def _procedural(config: Config, num_problems: int, seed: int) -> list[Problem]:
    chosen = config.problems
    return make_problems(
        families=chosen.families or None,
        levels=chosen.levels,
        split="train",
        num_problems=num_problems,
        seed=seed,
        exclude_families=chosen.exclude_families,
    )


def evaluation_problems(config: Config) -> list[Problem]:
    """The held-out problems of a config: the user's own, or procedural ones with parameters of no training problem."""
    return _held_out(config, make_problems)


def held_out_goldens(config: Config) -> list[Problem]:
    """As many of the held-out problems as there are, for whoever only measures how likely their goldens are."""
    return [problem for problem in _held_out(config, draw_problems) if problem.oracle.golden is not None]


def _held_out(config: Config, draw: Callable[..., list[Problem]]) -> list[Problem]:
    if config.eval.files:
        return _own(config.eval.files, config.eval.num_problems, config.eval.seed)
    return draw(
        families=config.eval.families or config.problems.families or None,
        levels=config.eval.levels or config.problems.levels,
        split="heldout",
        num_problems=config.eval.num_problems,
        seed=config.eval.seed,
        exclude_families=() if config.eval.families else config.problems.exclude_families,
    )
