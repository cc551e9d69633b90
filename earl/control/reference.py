"""The policy that KL is measured to: the start of training, a moving average of the policy, or its last renewal.

Its weights are state of the run: `state_dict` belongs into a checkpoint. A policy under adapters needs no second model:
its reference is the same base with the adapters as they were, or with none.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from transformers import PreTrainedModel

from earl.config import Config, KlConfig
from earl.lora import adapter_parameters, adapters_off, has_adapters, merge_adapters
from earl.params import NoParams, Params, bind_params
from earl.policy import load_model
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

    def as_model(self) -> AbstractContextManager[PreTrainedModel]:
        """The model to pass through, within and without gradient."""
        return nullcontext(self.model)

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


class AdapterReference:
    """Of a policy under adapters: the policy's own model, with the adapters of a while ago put in their place."""

    def __init__(self, model: PreTrainedModel, params: Params) -> None:
        self._model, self._params = model, params
        self._adapters: dict[str, torch.Tensor] = {}  # empty: they are off, the base alone
        self._renew()

    @contextmanager
    def as_model(self) -> Iterator[PreTrainedModel]:
        """The model to pass through, within and without gradient."""
        if not self._adapters:
            with adapters_off(self._model):
                yield self._model
            return
        parameters = adapter_parameters(self._model)
        current = {name: parameter.data for name, parameter in parameters.items()}
        for name, parameter in parameters.items():
            parameter.data = self._adapters[name]
        try:
            yield self._model
        finally:
            for name, parameter in parameters.items():
                parameter.data = current[name]

    def update(self, policy: PreTrainedModel, step: int) -> None:
        """Follow the policy as it is after `step` (from 1)."""
        assert policy is self._model
        if isinstance(self._params, RenewedParams) and step % self._params.every == 0:
            self._renew()

    def state_dict(self) -> dict[str, Any]:
        """The adapters by name; empty for the base alone."""
        return dict(self._adapters)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._adapters = {name: tensor.clone() for name, tensor in state.items()}

    def _renew(self) -> None:
        """Keep the adapters as they are now. New ones, whose second matrix is 0, are none."""
        now = {name: parameter.detach().clone() for name, parameter in adapter_parameters(self._model).items()}
        is_new = all(not tensor.any() for name, tensor in now.items() if ".lora_B." in name)
        self._adapters = {} if is_new else now


def make_reference(config: Config, policy: PreTrainedModel) -> Reference | AdapterReference | None:
    """What KL is measured to, at first the policy that training starts from. None without a KL term.

    A resumed run puts its own state into it.
    """
    if config.kl.beta == 0:
        return None
    params = reference_params(config.kl)
    if has_adapters(policy):
        return AdapterReference(policy, params)
    model = load_model(config.model.path)
    if has_adapters(model):
        merge_adapters(model)
    return Reference(model.requires_grad_(False), params)


def check_reference(config: Config) -> None:
    """UsageError for a reference that does not exist or that adapters cannot be measured to."""
    params = reference_params(config.kl)
    if config.kl.beta and config.lora.rank and isinstance(params, EmaParams):
        raise UsageError(
            'kl.reference = "ema" has no meaning for adapters: the mean of two factors is not that of their product;'
            ' set it to "fixed" or "renewed", or lora.rank = 0'
        )
