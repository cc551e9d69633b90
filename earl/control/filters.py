"""Group filters: which groups of a step train. One small function a method; the dict picks it.

They run on the shaped rewards, before advantages. Groups that are dropped leave the denominators too.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from earl.config import GroupsConfig
from earl.params import NoParams, Params, bind_params
from toolchain.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupFigures:
    """What a filter knows of a group."""

    std: float  # of the rewards, unbiased
    is_flat: bool  # std under advantage.min_std: no advantage to be had
    pass_rate: float


class PassRateParams(Params):
    low: Annotated[float, Field(ge=0, le=1)] = 0.1
    high: Annotated[float, Field(ge=0, le=1)] = 0.9


class TopStdParams(Params):
    fraction: Annotated[float, Field(gt=0, le=1)] = 0.75


def keep_all(groups: list[GroupFigures], params: NoParams) -> list[bool]:
    """Every group."""
    return [True for _ in groups]


def keep_varied(groups: list[GroupFigures], params: NoParams) -> list[bool]:
    """Groups whose rewards differ (DAPO, arXiv 2503.14476)."""
    return [not group.is_flat for group in groups]


def keep_by_pass_rate(groups: list[GroupFigures], params: PassRateParams) -> list[bool]:
    """Groups that are neither too hard nor too easy: low <= pass rate <= high."""
    return [params.low <= group.pass_rate <= params.high for group in groups]


def keep_top_std(groups: list[GroupFigures], params: TopStdParams) -> list[bool]:
    """The `fraction` of the groups whose rewards differ most (SPEAR, arXiv 2509.22601); ties to the earlier group."""
    num_kept = max(1, round(params.fraction * len(groups)))
    order = sorted(range(len(groups)), key=lambda index: (-groups[index].std, index))
    return [index in order[:num_kept] for index in range(len(groups))]


@dataclass(frozen=True, slots=True)
class FilterMethod:
    """A filter, the type of its parameters, and whether other groups can be sampled for those that it drops."""

    keep: Callable[[list[GroupFigures], Any], list[bool]]
    params: type[Params]
    is_per_group: bool


FILTERS = {
    "none": FilterMethod(keep_all, NoParams, True),
    "variance": FilterMethod(keep_varied, NoParams, True),
    "pass_rate": FilterMethod(keep_by_pass_rate, PassRateParams, True),
    "top_std": FilterMethod(keep_top_std, TopStdParams, False),
}


def make_filter(config: GroupsConfig) -> Callable[[list[GroupFigures]], list[bool]]:
    """The filter of a config. UsageError for one that does not exist or cannot be used in this way."""
    if config.filter not in FILTERS:
        raise UsageError(f"unknown groups.filter {config.filter!r}; known: {', '.join(sorted(FILTERS))}")
    method = FILTERS[config.filter]
    if config.max_rounds and (config.filter == "none" or not method.is_per_group):
        raise UsageError(
            f"groups.max_rounds = {config.max_rounds} needs a filter that judges each group for itself;"
            f" got groups.filter = {config.filter!r}; use variance or pass_rate, or set max_rounds = 0"
        )
    params = bind_params(method.params, config.params, section="groups.params", owner=config.filter)
    return lambda groups: method.keep(groups, params)
