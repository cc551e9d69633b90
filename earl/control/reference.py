"""The policy that KL is measured to: the start of training, a moving average of the policy, or its last renewal.

Its weights are state of the run: `state_dict` belongs into a checkpoint.
"""

from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from transformers import PreTrainedModel

from earl.config import KlConfig
from earl.params import NoParams, Params, bind_params
from toolchain.errors import UsageError


class EmaParams(Params):
    decay: Annotated[float, Field(ge=0, lt=1)] = 0.99  # a step; 0 follows at once


class RenewedParams(Params):
    every: Annotated[int, Field(ge=1)] = 100  # steps


REFERENCES: dict[str, type[Params]] = {"fixed": NoParams, "ema": EmaParams, "renewed": RenewedParams}


def reference_params(config: KlConfig) -> Params:
    """The parameters of the reference of a config. UsageError for a kind or a parameter that does not exist."""
    if config.reference not in REFERENCES:
        raise UsageError(f"unknown kl.reference {config.reference!r}; known: {', '.join(sorted(REFERENCES))}")
    return bind_params(REFERENCES[config.reference], config.params, section="kl.params", owner=config.reference)


@dataclass(frozen=True, slots=True)
class Reference:
    """A frozen model, and how it follows the policy."""

    model: PreTrainedModel
    params: Params

    @torch.no_grad()
    def update(self, policy: PreTrainedModel, step: int) -> None:
        """Follow the policy as it is after `step` (from 1)."""
        weight = 0.0
        if isinstance(self.params, EmaParams):
            weight = 1 - self.params.decay
        elif isinstance(self.params, RenewedParams) and step % self.params.every == 0:
            weight = 1.0
        if weight:
            for mine, theirs in zip(self.model.parameters(), policy.parameters(), strict=True):
                mine.lerp_(theirs.detach().to(mine.dtype), weight)

    def state_dict(self) -> dict[str, Any]:
        """Weights by name; empty for the fixed reference, which is read from where training began."""
        return {} if isinstance(self.params, NoParams) else dict(self.model.state_dict())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state:
            self.model.load_state_dict(state)
