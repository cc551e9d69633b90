"""Optimisers by name: torch's AdamW, and AdamW with 8-bit states by bitsandbytes.

Weight decay is for matrices only; norms and biases, which have one dimension, are spared. 8-bit states are quantised in
blocks of 256 values (arXiv 2110.02861); a tensor of fewer than 4,096 values keeps its states in float32.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field

from earl.params import Params, bind_params
from earl.update_params import OptimizerParams
from toolchain.errors import UsageError

Fraction = Annotated[float, Field(ge=0, lt=1)]


class AdamParams(Params):
    """Of every optimiser here."""

    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    eps: Annotated[float, Field(gt=0)] = 1e-8


@dataclass(frozen=True, kw_only=True, slots=True)
class _Kind:
    make: Callable[[list[dict], AdamParams], torch.optim.Optimizer]
    state_bytes: float  # a trainable value
    module: str = ""  # that it needs
    is_gpu_only: bool = False


def _adamw(groups: list[dict], params: AdamParams) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, betas=(params.beta1, params.beta2), eps=params.eps, fused=True)


def _adamw_8bit(groups: list[dict], params: AdamParams) -> torch.optim.Optimizer:
    from bitsandbytes.optim import AdamW8bit

    return AdamW8bit(groups, betas=(params.beta1, params.beta2), eps=params.eps)


def _paged_adamw_8bit(groups: list[dict], params: AdamParams) -> torch.optim.Optimizer:
    from bitsandbytes.optim import PagedAdamW8bit

    return PagedAdamW8bit(groups, betas=(params.beta1, params.beta2), eps=params.eps)


_BLOCK_STATE_BYTES = 2 * (1 + 4 / 256)  # two states of a byte, a float32 scale for each block of 256

OPTIMIZERS: dict[str, _Kind] = {
    "adamw": _Kind(make=_adamw, state_bytes=8),
    "adamw_8bit": _Kind(make=_adamw_8bit, state_bytes=_BLOCK_STATE_BYTES, module="bitsandbytes"),
    "paged_adamw_8bit": _Kind(
        make=_paged_adamw_8bit, state_bytes=_BLOCK_STATE_BYTES, module="bitsandbytes", is_gpu_only=True
    ),
}


def check_optimizer(config: OptimizerParams) -> AdamParams:
    """The optimiser's own parameters. UsageError if it does not exist, or does not run here."""
    if config.name not in OPTIMIZERS:
        raise UsageError(f"unknown optimizer.name {config.name!r}; known: {', '.join(OPTIMIZERS)}")
    kind, setting = OPTIMIZERS[config.name], f'optimizer.name = "{config.name}"'
    if kind.module and importlib.util.find_spec(kind.module) is None:
        raise UsageError(f"{setting} needs the package {kind.module}: pip install 'earl-rtl[{kind.module}]'")
    if kind.is_gpu_only and not torch.cuda.is_available():
        raise UsageError(f"{setting} pages states between a GPU and this machine, and there is no GPU; use adamw_8bit")
    return bind_params(AdamParams, config.params, section="optimizer.params", owner=config.name)


def make_optimizer(model: torch.nn.Module, config: OptimizerParams) -> torch.optim.Optimizer:
    """The optimiser of all parameters of `model` that want a gradient. UsageError as for `check_optimizer`."""
    params = check_optimizer(config)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trainable if p.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in trainable if p.dim() < 2], "weight_decay": 0.0},
    ]
    return OPTIMIZERS[config.name].make([group for group in groups if group["params"]], params)
