"""The training pass of a Llama-architecture model over packed groups, with the layer kernels in place of small ops.

Projections are called as the model's own modules, so biases and adapters work. What is cheap to compute again is not
kept for the backward pass: normalised inputs and the MLP's activations. Other models go through `earl.forward`'s
general pass. Shapes: _N packed tokens, _R rows asked for, _H hidden.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from transformers import PreTrainedModel

from earl import ops
from earl.engine.llama import unsupported_reason
from earl.group_flash import Groups, flash_group_attention
from earl.layer_ops import add_rms_norm, rotate, silu_mul


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
    num_tokens, eps = token_ids_N.numel(), config.rms_norm_eps
    x, delta = body.embed_tokens(token_ids_N), None
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
    cos, sin = (table[0, :, : table.shape[-1] // 2].contiguous() for table in body.rotary_emb(x, positions_N[None]))
    unique_rows, inverse_R = rows_R.unique(return_inverse=True)
    for layer in body.layers:
        attention = layer.self_attn
        x, normed = add_rms_norm(x, delta, layer.input_layernorm.weight, eps, dtype)
        with recomputed(normed, _norm_again(x, layer.input_layernorm.weight, eps, dtype)):
            projections = (attention.q_proj, attention.k_proj, attention.v_proj)
            query, key, value = (project(normed).view(num_tokens, -1, attention.head_dim) for project in projections)
        query, key = rotate(query, cos, sin), rotate(key, cos, sin)
        context = flash_group_attention(query, key, value, groups, attention.scaling).flatten(1)
        if layer is body.layers[-1]:
            x, context = x.index_select(0, unique_rows), context.index_select(0, unique_rows)
        x, normed = add_rms_norm(x, attention.o_proj(context), layer.post_attention_layernorm.weight, eps, dtype)
        with recomputed(normed, _norm_again(x, layer.post_attention_layernorm.weight, eps, dtype)):
            gate, up = layer.mlp.gate_proj(normed), layer.mlp.up_proj(normed)
        activated = silu_mul(gate, up)
        with recomputed(activated, _silu_again(gate, up)):
            delta = layer.mlp.down_proj(activated)
    _, normed = add_rms_norm(x, delta.to(x.dtype), body.norm.weight, eps, x.dtype)
    return normed.index_select(0, inverse_R)


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
