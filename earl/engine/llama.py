"""A Llama-architecture model laid out for decoding: fused projections, one prefill a prompt, no autograd.

The residual stream, the norms and the head are fp32 and the projections bf16, as under the trainer's autocast.

Covers what transformers calls `llama`, `mistral` without a sliding window, and `qwen2`: RMSNorm, rotary positions of
the default kind, grouped-query attention, SwiGLU. Everything else goes through `earl.engine.hf`.
Shapes: _P prompts, _R rows being decoded, _N tokens, _H hidden, _D head dimension.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from transformers import PretrainedConfig, PreTrainedModel

from earl.layer_ops import add_rms_norm, rotate, silu_mul
from earl.lora import merged_weight
from earl.policy import head_weight

_PACKED_DTYPES = (
    {torch.float32} | ({torch.bfloat16} if torch.ops.mkldnn._is_mkldnn_bf16_supported() else set())
    if torch.backends.mkldnn.is_available()
    else set()
)
_ROWS_HINT = 64  # rows that oneDNN lays the weight out for; other numbers work with it too
_ARCHITECTURES = ("llama", "mistral", "qwen2")


def unsupported_reason(config: PretrainedConfig) -> str | None:
    """Why the decode loop cannot run a model, or None if it can."""
    values = config.to_dict()
    if values["model_type"] not in _ARCHITECTURES:
        return f"architecture {values['model_type']} (known: {', '.join(_ARCHITECTURES)})"
    rope = values.get("rope_parameters") or {}
    if rope.get("rope_type", "default") != "default":
        return f"rotary embedding of type {rope['rope_type']}"
    if values["hidden_act"] != "silu":
        return f"activation {values['hidden_act']}"
    layer_types = values.get("layer_types") or []
    if any(kind != "full_attention" for kind in layer_types):
        return "sliding-window attention"
    if not layer_types and values.get("sliding_window"):
        return "sliding-window attention"
    return None


class Projection:
    """A linear layer for few rows. On a CPU its weight is laid out once for oneDNN's kernels; a plain product packs it
    anew in each call. 1.4 to 2 times the speed in bf16 at 64 to 4 rows, 1.2 to 3 times in fp32 at 128 to 8."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        self._bias = bias
        self._is_packed = weight.device.type == "cpu" and weight.dtype in _PACKED_DTYPES
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight, _ROWS_HINT) if self._is_packed else weight

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if self._is_packed:
            return torch.ops.mkldnn._linear_pointwise(x, self._weight, self._bias, "none", [], "")
        return F.linear(x, self._weight, self._bias)


@dataclass(slots=True)
class _Layer:
    norm_1: torch.Tensor
    qkv: Projection
    out: Projection
    norm_2: torch.Tensor
    gate_up: Projection
    down: Projection


class LlamaWeights:
    """A model's weights as they are now, laid out for decoding, adapters merged. Norms and embedding are its own."""

    def __init__(self, model: PreTrainedModel, dtype: torch.dtype) -> None:
        self.dtype = dtype
        config = model.config
        self.num_heads = config.num_attention_heads
        self.num_kv_heads = config.num_key_value_heads
        self.head_dim = config.to_dict().get("head_dim") or config.hidden_size // config.num_attention_heads
        self.eps = config.rms_norm_eps
        rope = config.to_dict().get("rope_parameters") or {}
        theta = rope.get("rope_theta", 10_000.0)
        exponents = torch.arange(0, self.head_dim, 2, dtype=torch.float32) / self.head_dim
        self._inverse_frequencies = 1.0 / (theta**exponents)

        def copy(*tensors: torch.Tensor) -> torch.Tensor:
            return torch.cat([tensor.detach().to(self.dtype) for tensor in tensors])

        body = model.model
        self.layers = []
        for layer in body.layers:
            attention, mlp = layer.self_attn, layer.mlp
            query, key, value = attention.q_proj, attention.k_proj, attention.v_proj
            biases = (query.bias, key.bias, value.bias)
            self.layers.append(
                _Layer(
                    norm_1=layer.input_layernorm.weight.detach(),
                    qkv=Projection(
                        copy(merged_weight(query), merged_weight(key), merged_weight(value)),
                        None if biases[0] is None else copy(*biases),
                    ),
                    out=Projection(merged_weight(attention.o_proj).to(dtype)),
                    norm_2=layer.post_attention_layernorm.weight.detach(),
                    gate_up=Projection(copy(merged_weight(mlp.gate_proj), merged_weight(mlp.up_proj))),
                    down=Projection(merged_weight(mlp.down_proj).to(dtype)),
                )
            )
        self.embedding = body.embed_tokens.weight.detach()
        self.norm = body.norm.weight.detach()
        self._head = Projection(head_weight(model).detach())

    def rotary(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """cos and sin, shape (*positions, D / 2), fp32."""
        angles = positions.to(torch.float32).unsqueeze(-1) * self._inverse_frequencies.to(positions.device)
        return angles.cos(), angles.sin()

    def logits(self, hidden_RH: torch.Tensor) -> torch.Tensor:
        """fp32, as the trainer's: bf16 would round a logit of 20 to steps of 0.125."""
        return self._head(F.rms_norm(hidden_RH, hidden_RH.shape[-1:], self.norm, self.eps))

    def run(self, token_ids: torch.Tensor, attend: Callable[[int, torch.Tensor], torch.Tensor]) -> torch.Tensor:
        """The residual stream (N, H) after the last layer.

        `attend(number of the layer, qkv (N, heads + 2 heads_kv, D))` returns the context (N, heads, D).
        """
        num_tokens = token_ids.numel()
        x, delta = F.embedding(token_ids, self.embedding), None
        for number, layer in enumerate(self.layers):
            x, normed = add_rms_norm(x, delta, layer.norm_1, self.eps, self.dtype)
            context = attend(number, layer.qkv(normed).view(num_tokens, -1, self.head_dim))
            x, normed = add_rms_norm(x, layer.out(context.reshape(num_tokens, -1)), layer.norm_2, self.eps, self.dtype)
            gate, up = layer.gate_up(normed).chunk(2, dim=-1)
            delta = layer.down(silu_mul(gate, up))
        return x + delta


def prefill(
    weights: LlamaWeights, prompts: list[list[int]], keep: Callable[[int, torch.Tensor, torch.Tensor], None]
) -> torch.Tensor:
    """Run the prompts once, end to end. Returns the last position's hidden state of each (P, H).

    `keep(number of the layer, keys, values)` gets those of all prompts' tokens, each (N, heads_kv, D).
    """
    device, heads, heads_kv = weights.embedding.device, weights.num_heads, weights.num_kv_heads
    ends = list(itertools.accumulate(len(prompt) for prompt in prompts))
    spans = [slice(end - len(prompt), end) for prompt, end in zip(prompts, ends, strict=True)]
    token_ids = torch.tensor([token for prompt in prompts for token in prompt], device=device)
    cos, sin = weights.rotary(torch.cat([torch.arange(len(prompt), device=device) for prompt in prompts]))

    def attend(number: int, qkv: torch.Tensor) -> torch.Tensor:
        turned = rotate(qkv[:, : heads + heads_kv], cos, sin)
        query, key = turned.split([heads, heads_kv], dim=1)
        value = qkv[:, heads + heads_kv :]
        keep(number, key, value)
        context = torch.empty_like(query, memory_format=torch.contiguous_format)
        for span in spans:
            parts = (tensor[span].transpose(0, 1)[None] for tensor in (query, key, value))
            out = F.scaled_dot_product_attention(*parts, is_causal=True, enable_gqa=True)
            context[span] = out[0].transpose(0, 1)
        return context

    hidden = weights.run(token_ids, attend)
    return hidden[torch.tensor(ends, device=device) - 1]
