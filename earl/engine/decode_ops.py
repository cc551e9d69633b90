"""The torch side of the decoding kernels: attention of single tokens over caches, and the draw of the next token.

Each op has a `*_ref` twin in plain torch that defines what it means and serves other devices than the CPU.
Shapes: _R rows, _K heads, _D head width, _P prompt slots, _V vocabulary.
"""

from dataclasses import dataclass

import torch

from earl.layer_ops import is_compiled_for, rotate_ref

CACHE_MULTIPLE = 32  # positions of a cache: the kernel reads keys in blocks of as many


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerCache:
    """Keys and values of one layer: of the prompts, each shared by its group, and of each row's response."""

    prompt_keys: torch.Tensor  # (P, heads_kv, D, positions): transposed, so that scores need no sums across lanes
    prompt_values: torch.Tensor  # (P, heads_kv, positions, D)
    keys: torch.Tensor  # (rows, heads_kv, D, positions)
    values: torch.Tensor  # (rows, heads_kv, positions, D)


@dataclass(frozen=True, kw_only=True, slots=True)
class Places:
    """Where the rows being decoded stand."""

    prompt_lengths: torch.Tensor  # (P,) int64
    group: torch.Tensor  # (R,) int64, prompt slot of each row
    lengths: torch.Tensor  # (R,) int64, response tokens in the cache; the row's new token goes there
    cos: torch.Tensor  # (R, D / 2) fp32, of the new token's position
    sin: torch.Tensor


def decode_attention(qkv_RKD: torch.Tensor, cache: LayerCache, places: Places) -> torch.Tensor:
    """Turn queries and keys, write the new keys and values into the cache, attend. Returns the context (R, heads, D).

    `qkv_RKD` holds the query heads, then the key heads, then the value heads of one new token a row.
    """
    if not is_compiled_for(qkv_RKD):
        return decode_attention_ref(qkv_RKD, cache, places)
    return torch.ops.earl.decode_attention(
        qkv_RKD,
        places.cos,
        places.sin,
        cache.prompt_keys,
        cache.prompt_values,
        places.prompt_lengths,
        places.group,
        places.lengths,
        cache.keys,
        cache.values,
    )


def decode_attention_ref(qkv_RKD: torch.Tensor, cache: LayerCache, places: Places) -> torch.Tensor:
    """`decode_attention` in plain torch: every row's prompt is copied."""
    num_rows, _, dim = qkv_RKD.shape
    heads_kv = cache.keys.shape[1]
    heads = qkv_RKD.shape[1] - 2 * heads_kv
    query, key, value = qkv_RKD.split([heads, heads_kv, heads_kv], dim=1)
    query, key = rotate_ref(query, places.cos, places.sin), rotate_ref(key, places.cos, places.sin)
    rows = torch.arange(num_rows, device=qkv_RKD.device)
    cache.keys[rows, :, :, places.lengths] = key
    cache.values[rows, :, places.lengths] = value
    keys = torch.cat([cache.prompt_keys[places.group], cache.keys[:num_rows]], dim=3).float()
    values = torch.cat([cache.prompt_values[places.group], cache.values[:num_rows]], dim=2).float()
    seen = torch.cat(
        [
            torch.arange(cache.prompt_keys.shape[3], device=rows.device) < places.prompt_lengths[places.group, None],
            torch.arange(cache.keys.shape[3], device=rows.device) <= places.lengths[:, None],
        ],
        dim=1,
    )[:, None, None]
    scores = torch.matmul(query.float().view(num_rows, heads_kv, -1, dim), keys) * dim**-0.5
    probs = torch.softmax(scores.masked_fill(~seen, float("-inf")), dim=-1)
    context = torch.matmul(probs, values.masked_fill(~seen.transpose(2, 3), 0.0))
    return context.view(num_rows, heads, dim).to(qkv_RKD.dtype)


def sample_tokens(
    logits_RV: torch.Tensor, uniforms_R: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Token, its log-prob and the entropy (nats) per row of softmax(logits / temperature), by inverse transform.

    Logits are fp32, `uniforms_R` fp64 in [0, 1): the token is the first whose cumulated probability exceeds it.
    """
    if not is_compiled_for(logits_RV):
        return sample_tokens_ref(logits_RV, uniforms_R, temperature)
    return torch.ops.earl.sample_tokens(logits_RV, uniforms_R, temperature)


def sample_tokens_ref(
    logits_RV: torch.Tensor, uniforms_R: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """`sample_tokens` in plain torch, in fp64."""
    scaled_RV = logits_RV.double() / temperature
    logprobs_RV = scaled_RV.log_softmax(dim=-1)
    probs_RV = logprobs_RV.exp()
    cumulative_RV = probs_RV.cumsum(dim=-1)
    target_R = uniforms_R.to(logits_RV.device)[:, None] * cumulative_RV[:, -1:]
    last_R = probs_RV.shape[1] - 1 - (probs_RV > 0).flip(1).int().argmax(dim=1)
    token_ids = torch.minimum(torch.searchsorted(cumulative_RV, target_R, right=True).squeeze(1), last_R)
    entropy_R = -(probs_RV * logprobs_RV.masked_fill(probs_RV == 0, 0.0)).sum(dim=-1)
    logprob_R = logprobs_RV.gather(1, token_ids[:, None]).squeeze(1)
    return token_ids, logprob_R.float(), entropy_R.float()
