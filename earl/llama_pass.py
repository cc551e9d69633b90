"""The training pass of a Llama-architecture model over packed groups, with the layer kernels in place of small ops.

Projections are called as the model's own modules, so biases and adapters work. What is cheap to compute again is not
kept for the backward pass: normalised inputs and the MLP's activations. Other models go through `earl.forward`'s
general pass. Shapes: _N packed tokens, _R rows asked for, _H hidden.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial

import torch
from transformers import PreTrainedModel

from earl import checkpointing, ops
from earl.engine.llama import unsupported_reason
from earl.group_flash import Groups
from earl.group_tiles import attend_groups
from earl.layer_ops import add_rms_norm, rotate, silu_mul

# How a tensor that can be computed again is kept for the backward pass of what is computed within.
Keeper = Callable[[torch.Tensor, Callable[[], torch.Tensor]], AbstractContextManager[None]]


def is_supported(model: PreTrainedModel) -> bool:
    """Whether `llama_hidden_states` computes what the model does."""
    return (
        model.device.type == "cpu"
        and ops.in_force() is ops.OPS["compiled"]
        and unsupported_reason(model.config) is None
    )


def llama_hidden_states(
    model: PreTrainedModel, token_ids_N: torch.Tensor, positions_N: torch.Tensor, groups: Groups, rows_R: torch.Tensor
) -> torch.Tensor:
    """Final hidden states (R, H) at the packed positions `rows_R`, under autocast where it is on.

    After the last layer's attention only the rows asked for are computed.
    """
    body, config = model.model, model.config
    eps = config.rms_norm_eps
    x, delta = body.embed_tokens(token_ids_N), None
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    cos, sin = (table[0, :, : table.shape[-1] // 2].contiguous() for table in body.rotary_emb(x, positions_N[None]))
    shared = _Shared(cos=cos, sin=sin, groups=groups, eps=eps, dtype=dtype)
    unique_rows, inverse_R = rows_R.unique(return_inverse=True)
    is_checkpointed = checkpointing.is_on(model)
    for layer in body.layers:
        is_last = layer is body.layers[-1]
        if is_checkpointed and not is_last:
            x, delta = checkpointing.run_again(partial(_run_layer, layer, shared, keeper=_keep_all), x, delta)
        else:
            x, delta = _run_layer(layer, shared, x, delta, unique_rows if is_last else None)
    _, normed = add_rms_norm(x, delta.to(x.dtype), body.norm.weight, eps, x.dtype)
    return normed.index_select(0, inverse_R)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shared:
    """What is the same in every layer of a pass."""

    cos: torch.Tensor
    sin: torch.Tensor
    groups: Groups
    eps: float
    dtype: torch.dtype  # of projections


def _run_layer(
    layer: torch.nn.Module,
    shared: _Shared,
    x: torch.Tensor,
    delta: torch.Tensor | None,
    rows: torch.Tensor | None = None,
    *,
    keeper: Keeper | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The residual stream and what is to be added to it after one layer: at `rows` only, unless that is None."""
    attention, eps, dtype = layer.self_attn, shared.eps, shared.dtype
    kept = keeper or recomputed
    x, normed = add_rms_norm(x, delta, layer.input_layernorm.weight, eps, dtype)
    with kept(normed, _norm_again(x, layer.input_layernorm.weight, eps, dtype)):
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        query, key, value = (project(normed).view(x.shape[0], -1, attention.head_dim) for project in projections)
    query, key = rotate(query, shared.cos, shared.sin), rotate(key, shared.cos, shared.sin)
    context = attend_groups(query, key, value, shared.groups, attention.scaling).flatten(1)
    if rows is not None:
        x, context = x.index_select(0, rows), context.index_select(0, rows)
    x, normed = add_rms_norm(x, attention.o_proj(context), layer.post_attention_layernorm.weight, eps, dtype)
    with kept(normed, _norm_again(x, layer.post_attention_layernorm.weight, eps, dtype)):
        gate, up = layer.mlp.gate_proj(normed), layer.mlp.up_proj(normed)
    activated = silu_mul(gate, up)
    with kept(activated, _silu_again(gate, up)):
        return x, layer.mlp.down_proj(activated)


def _keep_all(tensor: torch.Tensor, again: Callable[[], torch.Tensor]) -> AbstractContextManager[None]:
    """In place of `recomputed` where the whole layer is computed again: that must see every tensor that is saved."""
    return nullcontext()


@contextmanager
def recomputed(tensor: torch.Tensor, again: Callable[[], torch.Tensor]) -> Iterator[None]:
    """What is computed within keeps `again` for its backward pass in place of `tensor`."""
    pointer, size = tensor.data_ptr(), tensor.numel()

    def pack(saved: torch.Tensor) -> torch.Tensor | Callable[[], torch.Tensor]:
        return again if saved.data_ptr() == pointer and saved.numel() == size else saved

    def unpack(kept: torch.Tensor | Callable[[], torch.Tensor]) -> torch.Tensor:
        return kept if isinstance(kept, torch.Tensor) else kept()

    with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
        yield


def _norm_again(x: torch.Tensor, weight: torch.Tensor, eps: float, dtype: torch.dtype) -> Callable[[], torch.Tensor]:
    x, weight = x.detach(), weight.detach()

    def again() -> torch.Tensor:
        with torch.no_grad():
            return add_rms_norm(x, None, weight, eps, dtype)[1]

    return again


def _silu_again(gate: torch.Tensor, up: torch.Tensor) -> Callable[[], torch.Tensor]:
    gate, up = gate.detach(), up.detach()

    def again() -> torch.Tensor:
        with torch.no_grad():
            return silu_mul(gate, up)

    return again
