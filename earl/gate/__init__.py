"""Gates: which completion tokens let the policy gradient through. One small file a method; the dict picks it.

A gate is a function of a `TokenBatch`, its own parameters and the step to a bool per packed token. It uses detached
statistics only, of the whole optimiser batch, and is fixed for it: micro-batches do not change it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from pydantic import BaseModel

from earl.gate.combine import CombinedGateParams, intersection_gate, union_gate
from earl.gate.cone import ConeGateParams, cone_gate
from earl.gate.entropy import EntropyGateParams, entropy_gate
from earl.gate.open import open_gate
from earl.gate.structural import StructuralGateParams, structural_gate
from earl.params import NoParams, bind_params
from earl.types import TokenBatch
from toolchain.errors import UsageError


@dataclass(frozen=True, slots=True)
class GateMethod:
    """A gate and the type of its parameters."""

    gate: Callable[[TokenBatch, Any, int], torch.Tensor]
    params: type[BaseModel]


GATES = {
    "open": GateMethod(open_gate, NoParams),
    "entropy": GateMethod(entropy_gate, EntropyGateParams),
    "structural": GateMethod(structural_gate, StructuralGateParams),
    "cone": GateMethod(cone_gate, ConeGateParams),
    "intersection": GateMethod(intersection_gate, CombinedGateParams),
    "union": GateMethod(union_gate, CombinedGateParams),
}


def make_gate(name: str, params: dict[str, Any], *, step: int = 1) -> Callable[[TokenBatch], torch.Tensor]:
    """The gate called `name` with its parameters checked and bound, as it is at a step (from 1).

    Raises:
        UsageError: no such gate, or a parameter that it does not have.
    """
    if name not in GATES:
        raise UsageError(f"unknown gate {name!r}; known: {', '.join(sorted(GATES))}")
    method = GATES[name]
    bound = bind_params(method.params, params, section="gate.params", owner=name)
    return lambda batch: method.gate(batch, bound, step)
