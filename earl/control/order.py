"""Orders that follow the pass rates seen so far: near 50 % first, or family after family.

A problem's pass rate is a moving average over its visits, from a prior of one half. Weights are pure functions of this
history; the draw is a pure function of weights, seed and step. The history is state of the run: `state_dict` belongs
into a checkpoint.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from earl.params import NoParams, Params, bind_params
from toolchain.errors import UsageError
from verifiers.types import Problem

_PRIOR = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What is known of a problem."""

    pass_rate: float = _PRIOR
    num_visits: int = 0


class AdaptiveParams(Params):
    memory: Annotated[float, Field(ge=0, lt=1)] = 0.5  # share of the average that a new visit leaves in place
    floor: Annotated[float, Field(gt=0, le=1)] = 0.05  # weight of a problem that always or never passes, of 1 at 50 %


class CurriculumParams(Params):
    families: tuple[str, ...] = ()  # from easy to hard; empty: by lowest difficulty, then name
    unlock_at: Annotated[float, Field(ge=0, le=1)] = 0.5  # mean pass rate of a family that opens the next one
    min_visits: Annotated[int, Field(ge=1)] = 8  # of a family's problems, before the next one may open
    memory: Annotated[float, Field(ge=0, lt=1)] = 0.5


History = Mapping[str, Record]


def adaptive_weights(problems: tuple[Problem, ...], history: History, params: AdaptiveParams) -> list[float]:
    """max(floor, 4 p (1 - p)): 1 at a pass rate of one half, where a group teaches most."""
    rates = [history.get(problem.problem_id, Record()).pass_rate for problem in problems]
    return [max(params.floor, 4 * rate * (1 - rate)) for rate in rates]


def curriculum_weights(problems: tuple[Problem, ...], history: History, params: CurriculumParams) -> list[float]:
    """1 for problems of open families, else 0. The first is open; each opens the next when it is mastered."""
    families = params.families or default_families(problems)
    opened = set()
    for family in families:
        opened.add(family)
        seen = [history[p.problem_id] for p in problems if p.family == family and p.problem_id in history]
        num_visits = sum(record.num_visits for record in seen)
        if num_visits < params.min_visits:
            break
        if sum(record.pass_rate * record.num_visits for record in seen) / num_visits < params.unlock_at:
            break
    return [float(problem.family in opened) for problem in problems]


def default_families(problems: tuple[Problem, ...]) -> tuple[str, ...]:
    """The families of `problems` by their lowest difficulty, then by name."""
    lowest: dict[str, int] = {}
    for problem in problems:
        lowest[problem.family] = min(problem.difficulty, lowest.get(problem.family, problem.difficulty))
    return tuple(sorted(lowest, key=lambda family: (lowest[family], family)))


@dataclass(frozen=True, slots=True)
class OrderMethod:
    """The weights of an order and the type of its parameters. Without weights: shuffled epochs."""

    weights: Callable[[tuple[Problem, ...], History, Any], list[float]] | None
    params: type[Params]


ORDERS = {
    "shuffled": OrderMethod(None, NoParams),
    "adaptive": OrderMethod(adaptive_weights, AdaptiveParams),
    "curriculum": OrderMethod(curriculum_weights, CurriculumParams),
}


def order_params(name: str, params: dict[str, Any]) -> Params:
    """The parameters of an order. UsageError for one that does not exist."""
    if name not in ORDERS:
        raise UsageError(f"unknown problems.order {name!r}; known: {', '.join(sorted(ORDERS))}")
    return bind_params(ORDERS[name].params, params, section="problems.params", owner=name)


def weighted_draw(weights: list[float], num: int, rng: random.Random) -> list[int]:
    """`num` indices without repetition; heavier ones are likelier (Efraimidis and Spirakis 2006).

    Those of weight 0 come only when no other is left, in random order.
    """
    uniforms = [rng.random() for _ in weights]
    keys = [u ** (1 / w) if w > 0 else u - 1 for u, w in zip(uniforms, weights, strict=True)]
    return sorted(range(len(weights)), key=lambda index: (-keys[index], index))[:num]
