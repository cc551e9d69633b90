"""Gates: which completion tokens let the policy gradient through. One small file a method; the dict picks it.

A gate is a function of a `TokenBatch` and its own parameters to a bool per packed token. It uses detached statistics
only and is fixed for the whole optimiser batch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import BaseModel, ValidationError

from earl.gate.entropy import EntropyGateParams, entropy_gate
from earl.gate.entropy_structural import EntropyStructuralGateParams, entropy_structural_gate
from earl.gate.open import OpenGateParams, open_gate
from earl.types import TokenBatch
from toolchain.errors import UsageError


@dataclass(frozen=True, slots=True)
class GateMethod:
    """A gate and the type of its parameters."""

    gate: Callable[[TokenBatch, Any], torch.Tensor]
    params: type[BaseModel]


GATES = {
    "open": GateMethod(open_gate, OpenGateParams),
    "entropy": GateMethod(entropy_gate, EntropyGateParams),
    "entropy_structural": GateMethod(entropy_structural_gate, EntropyStructuralGateParams),
}


def make_gate(name: str, params: dict[str, Any]) -> Callable[[TokenBatch], torch.Tensor]:
    """The gate called `name` with its parameters checked and bound.

    Raises:
        UsageError: no such gate, or a parameter that it does not have.
    """
    if name not in GATES:
        raise UsageError(f"unknown gate {name!r}; known: {', '.join(sorted(GATES))}")
    method = GATES[name]
    try:
        bound = method.params.model_validate(params)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        known = ", ".join(method.params.model_fields) or "none"
        raise UsageError(f"gate.params.{key}: {first['msg']}; {name} has: {known}") from error
    return lambda batch: method.gate(batch, bound)
