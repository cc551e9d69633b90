"""The parameters of `[rollout]`: who samples, and how far behind the trainer."""

from typing import Annotated, Literal

from pydantic import Field

from earl.params import Params


class RolloutParams(Params):
    """With workers and a staleness of 0 sampling and training take turns, as without workers."""

    max_staleness: Annotated[int, Field(ge=0)] = 0  # policy versions between sampling a group and training on it
    num_workers: Annotated[int, Field(ge=0)] = 0  # processes that sample beside the trainer; 0: the trainer does
    # fixed: from exactly max_staleness versions ago, the same each time; free: from the newest version at hand
    schedule: Literal["fixed", "free"] = "fixed"
    is_local: bool = True  # false: none is started here, all join by `earl rollouts RUN` on any machine
