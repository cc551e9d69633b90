"""Gradient checkpointing (arXiv 1604.06174): of each layer only the input is kept for the backward pass.

The rest of a layer is computed again when its gradient is due: a third more work for a fraction of the memory. The last
layer is due first, so it keeps what it has. Which models do it is a mark on the model; the passes ask `is_on`.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from toolchain.errors import UsageError

_MARK = "_earl_checkpoints_layers"


def set_up(model: PreTrainedModel, kind: str) -> None:
    """Mark the model for `train.gradient_checkpointing`: "none" or "layers". UsageError if it has no such layers."""
    is_wanted = kind == "layers"
    if is_wanted and not _layers(model):
        raise UsageError(f'{type(model).__name__} has no layers that can be computed again; set it to "none"')
    setattr(model, _MARK, is_wanted)


def is_on(model: PreTrainedModel) -> bool:
    """Whether a pass is to checkpoint: the model is marked and gradients are recorded."""
    return torch.is_grad_enabled() and getattr(model, _MARK, False)


def run_again(function: Callable[..., Any], *tensors: Any) -> Any:
    """`function(*tensors)`, whose inside is computed again for the backward pass. There is nothing random in it."""
    return checkpoint(function, *tensors, use_reentrant=False, preserve_rng_state=False)


@contextmanager
def layers_run_again(
    model: PreTrainedModel, around: Callable[[], AbstractContextManager[Any]] = nullcontext
) -> Iterator[None]:
    """transformers' own forward with checkpointed layers, within; `around` is entered where one is computed again.

    transformers checkpoints a layer in training mode only; the layers alone are put into it, and so nothing within
    them that training mode changes, such as dropout.
    """
    again = partial(
        checkpoint, use_reentrant=False, preserve_rng_state=False, context_fn=lambda: (nullcontext(), around())
    )
    layers = _layers(model)[:-1] if is_on(model) else []
    before = [(layer, layer.training) for layer in layers]
    for layer in layers:
        layer.training = layer.gradient_checkpointing = True
        layer._gradient_checkpointing_func = again
    try:
        yield
    finally:
        for layer, was_training in before:
            layer.training, layer.gradient_checkpointing = was_training, False


def _layers(model: PreTrainedModel) -> list[GradientCheckpointingLayer]:
    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
