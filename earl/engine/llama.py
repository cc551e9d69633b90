"""A Llama-architecture model laid out for decoding: fused projections, one prefill a prompt, no autograd.

The residual stream, the norms and the head are fp32 and the projections bf16, as under the trainer's autocast.

Covers what transformers calls `llama`, `mistral` without a sliding window, and `qwen2`: RMSNorm, rotary positions of
the default kind, grouped-query attention, SwiGLU. Everything else goes through `earl.engine.hf`.
Shapes: _P prompts, _L prompt positions, _R rows being decoded, _H hidden, _D head dimension.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from transformers import PretrainedConfig, PreTrainedModel

from earl.policy import head_weight

_HAS_PACKING = torch.ops.mkldnn._is_mkldnn_bf16_supported()
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
    """A linear layer for few rows. On a CPU in bf16 its weight is laid out once for oneDNN's kernels: 1.4 to 2 times
    the speed of a plain matrix product at 64 to 4 rows, which packs the weight anew in each call."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        self._bias = bias
        self._is_packed = weight.device.type == "cpu" and weight.dtype == torch.bfloat16 and _HAS_PACKING
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


@dataclass(slots=True)
class PromptCache:
    """Keys and values of the prompts, shared by all rows of a prompt."""

    keys: list[torch.Tensor]  # per layer (P, heads_kv, D, L): transposed for the score product
    values: list[torch.Tensor]  # per layer (P, heads_kv, L, D)
    bias_PL: torch.Tensor  # fp32, 0 on the prompt's tokens, -inf on padding


class LlamaWeights:
    """Decoding copies of a model's weights, refreshed by `update`."""

    def __init__(self, model: PreTrainedModel, dtype: torch.dtype) -> None:
        self._model, self.dtype = model, dtype
        config = model.config
        self.num_heads = config.num_attention_heads
        self.num_kv_heads = config.num_key_value_heads
        self.head_dim = config.to_dict().get("head_dim") or config.hidden_size // config.num_attention_heads
        self.eps = config.rms_norm_eps
        rope = config.to_dict().get("rope_parameters") or {}
        theta = rope.get("rope_theta", 10_000.0)
        exponents = torch.arange(0, self.head_dim, 2, dtype=torch.float32) / self.head_dim
        self._inverse_frequencies = 1.0 / (theta**exponents)
        self.update()

    @torch.no_grad()
    def update(self) -> None:
        """Copy the model's weights as they are now."""

        def copy(*tensors: torch.Tensor) -> torch.Tensor:
            return torch.cat([tensor.detach() for tensor in tensors]).to(self.dtype)

        body = self._model.model
        self.layers = []
        for layer in body.layers:
            attention, mlp = layer.self_attn, layer.mlp
            biases = (attention.q_proj.bias, attention.k_proj.bias, attention.v_proj.bias)
            self.layers.append(
                _Layer(
                    norm_1=layer.input_layernorm.weight.detach().clone(),
                    qkv=Projection(
                        copy(attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight),
                        None if biases[0] is None else copy(*biases),
                    ),
                    out=Projection(copy(attention.o_proj.weight)),
                    norm_2=layer.post_attention_layernorm.weight.detach().clone(),
                    gate_up=Projection(copy(mlp.gate_proj.weight, mlp.up_proj.weight)),
                    down=Projection(copy(mlp.down_proj.weight)),
                )
            )
        self.embedding = body.embed_tokens.weight.detach().clone()
        self.norm = body.norm.weight.detach().clone()
        head = head_weight(self._model)
        self._head = self.embedding if head is body.embed_tokens.weight else head.detach().clone()

    def rotary(self, positions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """cos and sin, shape (*positions, D), fp32."""
        angles = positions.to(torch.float32).unsqueeze(-1) * self._inverse_frequencies.to(positions.device)
        angles = torch.cat([angles, angles], dim=-1)
        return angles.cos(), angles.sin()

    def logits(self, hidden_RH: torch.Tensor) -> torch.Tensor:
        """fp32, as the trainer's: bf16 would round a logit of 20 to steps of 0.125."""
        return F.linear(F.rms_norm(hidden_RH, hidden_RH.shape[-1:], self.norm, self.eps), self._head)

    def normed(self, x: torch.Tensor, norm: torch.Tensor) -> torch.Tensor:
        """RMSNorm of the fp32 residual stream, in the type that projections multiply in."""
        return F.rms_norm(x, x.shape[-1:], norm, self.eps).to(self.dtype)


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary embedding, halves convention, in fp32 and back; cos and sin broadcast over heads."""
    half = x.shape[-1] // 2
    return (x * cos + torch.cat([-x[..., half:], x[..., :half]], dim=-1) * sin).to(x.dtype)


def prefill(weights: LlamaWeights, prompts: list[list[int]]) -> tuple[torch.Tensor, PromptCache]:
    """Run the prompts once. Returns the last position's hidden state (P, H) and the cache."""
    device = weights.embedding.device
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
    longest = int(lengths.max())
    # Padding is on the right: under the causal mask no real token sees it.
    token_ids = torch.tensor([prompt + [0] * (longest - len(prompt)) for prompt in prompts], device=device)
    x = F.embedding(token_ids, weights.embedding)  # (P, L, H)
    num_prompts, heads, heads_kv, dim = len(prompts), weights.num_heads, weights.num_kv_heads, weights.head_dim
    cos, sin = weights.rotary(torch.arange(longest, device=device))  # (L, D)
    keys, values = [], []
    for layer in weights.layers:
        qkv = layer.qkv(weights.normed(x, layer.norm_1))
        qkv = qkv.view(num_prompts, longest, heads + 2 * heads_kv, dim).transpose(1, 2)  # (P, heads, L, D)
        query, key, value = qkv.split([heads, heads_kv, heads_kv], dim=1)
        query, key = rotate(query, cos, sin), rotate(key, cos, sin)
        context = F.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)
        x = x + layer.out(context.transpose(1, 2).reshape(num_prompts, longest, heads * dim))
        x = x + mlp(layer, weights.normed(x, layer.norm_2))
        keys.append(key.transpose(2, 3).contiguous())
        values.append(value.contiguous())
    padding = torch.arange(longest, device=device) >= lengths[:, None]
    bias = torch.zeros(padding.shape, device=device).masked_fill_(padding, float("-inf"))
    last = x[torch.arange(num_prompts, device=device), lengths - 1]
    return last, PromptCache(keys=keys, values=values, bias_PL=bias)


def mlp(layer: _Layer, x: torch.Tensor) -> torch.Tensor:
    """SwiGLU."""
    gate, up = layer.gate_up(x).chunk(2, dim=-1)
    return layer.down(F.silu(gate) * up)
