"""Lists of procedural problems: distinct designs, even over families, of one split. Draws only; judges nothing."""

import difflib
import random
from collections.abc import Iterator, Sequence

from hdl_bench.procedural.families import FAMILIES
from hdl_bench.procedural.family import LEVELS, SPLITS, Family, design_key, split_of, to_problem
from toolchain.errors import UsageError
from verifiers.types import Problem

_MAX_TRIES = 400  # draws in a row without a new design of the split before a family's level counts as exhausted


def make_problems(
    *,
    families: Sequence[str] | None,
    levels: Sequence[int],
    split: str,
    num_problems: int,
    seed: int,
    exclude_families: Sequence[str] = (),
) -> list[Problem]:
    """As `draw_problems`; raises `UsageError` too when there are fewer distinct designs than asked for."""
    problems = draw_problems(
        families=families,
        levels=levels,
        split=split,
        num_problems=num_problems,
        seed=seed,
        exclude_families=exclude_families,
    )
    if len(problems) < num_problems:
        names = ", ".join(family.name for family in _choose(families, exclude_families))
        raise UsageError(
            f"{num_problems} problems asked for, only {len(problems)} distinct designs found in split {split!r} of "
            f"{names} at levels {sorted(set(levels))}; ask for fewer, or for more families or levels"
        )
    return problems


def draw_problems(
    *,
    families: Sequence[str] | None,
    levels: Sequence[int],
    split: str,
    num_problems: int,
    seed: int,
    exclude_families: Sequence[str] = (),
) -> list[Problem]:
    """At most `num_problems` problems of distinct designs, taken in turn from each family and, within it, each level.

    `families` None means all. The draws of a family do not depend on which others are chosen. A family's level that
    yields no new design in 400 draws leaves the rotation. Raises `UsageError` for an unknown name, level or split.
    """
    chosen = _choose(families, exclude_families)
    _check_levels_and_split(levels, split)
    streams = {
        family.name: [_designs(family, level, split, seed) for level in sorted(set(levels) & set(family.levels))]
        for family in chosen
    }
    empty = [name for name, of_levels in streams.items() if not of_levels]
    if empty and families is not None:
        raise UsageError(
            f"family {empty[0]} has no level among {sorted(set(levels))}; it has {FAMILIES[empty[0]].levels}"
        )
    problems, seen = [], set()
    while len(problems) < num_problems and any(streams.values()):
        for of_levels in streams.values():
            problem = _next_unseen(of_levels, seen)
            if problem is not None and len(problems) < num_problems:
                problems.append(problem)
    return problems


def _next_unseen(of_levels: list[Iterator[tuple[str, Problem]]], seen: set[str]) -> Problem | None:
    """The next new design of a family, from the level whose turn it is; exhausted levels are removed in place."""
    while of_levels:
        stream = of_levels.pop(0)
        for _, (key, problem) in zip(range(_MAX_TRIES), stream, strict=False):
            if key not in seen:
                seen.add(key)
                of_levels.append(stream)
                return problem
    return None


def _designs(family: Family, level: int, split: str, seed: int) -> Iterator[tuple[str, Problem]]:
    """Endless draws of one family and level that fall in the split; ends after too many that do not."""
    rng = random.Random(f"{seed}/{family.name}/{level}")
    num_misses = 0
    while num_misses < _MAX_TRIES:
        design = family.draw(rng, level)
        phrasing = rng.randrange(len(design.descriptions))
        key = design_key(family.name, design.params)
        if split_of(key) == split:
            num_misses = 0
            yield key, to_problem(family, design, level, phrasing)
        else:
            num_misses += 1


def _choose(families: Sequence[str] | None, exclude_families: Sequence[str]) -> list[Family]:
    for name in (*(families or ()), *exclude_families):
        if name not in FAMILIES:
            nearest = difflib.get_close_matches(name, FAMILIES, n=1, cutoff=0.0)
            raise UsageError(f"unknown family {name!r}; did you mean {nearest[0]!r}? `earl problems list` shows all")
    wanted = FAMILIES if families is None else dict.fromkeys(families)
    chosen = [FAMILIES[name] for name in wanted if name not in exclude_families]
    if not chosen:
        raise UsageError("no family is left: `families` is empty or all of it is excluded; name at least one")
    return chosen


def _check_levels_and_split(levels: Sequence[int], split: str) -> None:
    if split not in SPLITS:
        raise UsageError(f"unknown split {split!r}; use one of {', '.join(SPLITS)}")
    wrong = [level for level in levels if level not in LEVELS]
    if wrong or not levels:
        raise UsageError(f"levels must be some of {LEVELS}, got {list(levels)}")
