"""Statistics of each token's law that entropy-aware methods ask for by name. No gradient."""

from collections.abc import Sequence

import torch

from earl.ops.token_logprob_entropy import stats_dtype

# Of p = softmax(z / temperature), z the logits of a row; y the target; [N] each.
STATISTICS = {
    "logprob": "ln p[y]",
    "entropy": "H = -sum p ln p, nats",
    "logsumexp": "ln sum exp(z / temperature)",
    "chosen_logit": "z[y]",
    "mean_logit": "mean of z",
    "self_certainty": "logsumexp - mean(z / temperature), which is ln V + KL(uniform || p)",
    "mean_entropy_change": "sum p^2 (H + ln p): the mean over tokens of p (H + ln p)",
    "top_p_mass": "mass of the nucleus: the fewest most likely tokens that hold at least top_p",
    "top_p_entropy": "entropy of p renormalised on the nucleus, nats",
    "min_p_logprob": "ln p[y] renormalised on the tokens with p >= min_p max(p); -inf where y is none of them",
}


def token_statistics(
    logits: torch.Tensor,
    targets: torch.Tensor,
    temperature: float = 1.0,
    *,
    names: Sequence[str],
    top_p: float = 0.8,
    min_p: float = 0.02,
) -> dict[str, torch.Tensor]:
    """The statistics `names`, keys of STATISTICS, of logits [N, V]: [N] each, fp32 (fp64 for fp64 logits).

    The logits are read twice; a nucleus is sorted out of its row. Defaults: SIREN's top_p (arXiv 2509.25133), Lp-Reg's
    min_p (2510.03222). Raises ValueError for names, shapes and parameters, IndexError for a target out of range.
    """
    names = list(names)
    values = torch.ops.earl.token_statistics(logits.detach(), targets, temperature, names, top_p, min_p)
    return dict(zip(names, values, strict=True))


def token_statistics_ref(
    logits: torch.Tensor,
    targets: torch.Tensor,
    temperature: float = 1.0,
    *,
    names: Sequence[str],
    top_p: float = 0.8,
    min_p: float = 0.02,
) -> dict[str, torch.Tensor]:
    """`token_statistics` in plain torch: sorts every row whole."""
    logits_NV = logits.detach().to(stats_dtype(logits.dtype))
    scaled_NV = logits_NV / temperature
    logsumexp_N = scaled_NV.logsumexp(dim=-1)
    logprobs_NV = scaled_NV - logsumexp_N[:, None]
    probs_NV = logprobs_NV.exp()
    entropy_N = _entropy(logprobs_NV)
    sorted_NV, _ = logprobs_NV.sort(dim=-1, descending=True)
    # A token belongs to the nucleus while those before it hold less than top_p.
    before_NV = sorted_NV.exp().cumsum(dim=-1) - sorted_NV.exp()
    nucleus_NV = sorted_NV.masked_fill(before_NV >= top_p, float("-inf"))
    nucleus_mass_N = nucleus_NV.logsumexp(dim=-1)
    is_kept_NV = scaled_NV >= scaled_NV.amax(dim=-1, keepdim=True) + torch.tensor(min_p).log()
    kept_NV = logprobs_NV.masked_fill(~is_kept_NV, float("-inf")).log_softmax(dim=-1)
    found = {
        "logprob": _at(logprobs_NV, targets),
        "entropy": entropy_N,
        "logsumexp": logsumexp_N,
        "chosen_logit": _at(logits_NV, targets),
        "mean_logit": logits_NV.mean(dim=-1),
        "self_certainty": logsumexp_N - scaled_NV.mean(dim=-1),
        "mean_entropy_change": (probs_NV**2 * (entropy_N[:, None] + logprobs_NV.masked_fill(probs_NV == 0, 0.0))).sum(
            dim=-1
        ),
        "top_p_mass": nucleus_mass_N.exp(),
        "top_p_entropy": _entropy(nucleus_NV - nucleus_mass_N[:, None]),
        "min_p_logprob": _at(kept_NV, targets),
    }
    return {name: found[name] for name in names}


def _entropy(logprobs_NV: torch.Tensor) -> torch.Tensor:
    probs_NV = logprobs_NV.exp()
    return -(probs_NV * logprobs_NV.masked_fill(probs_NV == 0, 0.0)).sum(dim=-1)


def _at(values_NV: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return values_NV.gather(-1, targets[:, None]).squeeze(-1)


@torch.library.register_fake("earl::token_statistics")
def _fake(logits, targets, temperature, names, top_p, min_p):
    return [logits.new_empty(logits.shape[0], dtype=stats_dtype(logits.dtype)) for _ in names]
