"""Parts that gates are made of: a gate named inside another one's parameters, and a share that follows a schedule."""

import math
from typing import Annotated, Any, Literal

import torch
from pydantic import Field, model_validator

from earl.params import Params
from earl.types import TokenBatch

Share = Annotated[float, Field(gt=0, le=1)]


class Schedule(Params):
    """From `start` at step 1 to `end` at step `num_steps`, and `end` from there on."""

    start: Share
    end: Share
    num_steps: Annotated[int, Field(ge=2)]
    shape: Literal["linear", "cosine"] = "linear"


Fraction = Share | Schedule


def fraction_at(fraction: float | Schedule, step: int) -> float:
    """The share that holds at a step (from 1)."""
    if not isinstance(fraction, Schedule):
        return fraction
    progress = min(1.0, (step - 1) / (fraction.num_steps - 1))
    if fraction.shape == "cosine":
        progress = (1 - math.cos(math.pi * progress)) / 2
    return fraction.start + (fraction.end - fraction.start) * progress


class GateSpec(Params):
    """A gate by name and parameters, checked when the config is."""

    name: str
    params: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _check(self) -> "GateSpec":
        self._make(1)
        return self

    def __call__(self, batch: TokenBatch, step: int) -> torch.Tensor:
        """The mask (N,) of this gate."""
        return self._make(step)(batch)

    def _make(self, step: int) -> Any:
        from earl.gate import make_gate  # which imports this file

        return make_gate(self.name, self.params, step=step)
