"""Truncated importance sampling: the sampler's log-probs are those of another program or of an older policy version.

The weight min(trainer / sampler, cap) of a token or of a whole response corrects for it; the PPO ratio is then taken
to the trainer's own policy before the step (Yao et al. 2025, "Your efficient RL framework secretly brings you
off-policy RL training"). It costs one forward pass a step.
"""

import torch

from earl.config import Config
from earl.types import TokenBatch

_OWN_ENGINES = ("auto", "hf", "decode")  # the trainer's weights and, within rounding, its arithmetic: tests bound it


def correction_level(config: Config) -> str:
    """One of none, token and sequence: what `loss.correction` stands for with the sampler of this config."""
    if config.loss.correction != "auto":
        return config.loss.correction
    is_in_step = config.sampling.engine in _OWN_ENGINES and config.rollout.max_staleness == 0
    return "none" if is_in_step else "token"


def correction_weights(batch: TokenBatch, level: str, cap: float) -> torch.Tensor:
    """min(p_trainer / p_sampler, cap) (N,), of each token or, at level "sequence", of all tokens of its response."""
    assert batch.old_logprobs is not None
    log_ratios_N = (batch.old_logprobs - batch.logprobs).double()
    if level == "sequence":
        response_N = torch.arange(batch.num_sequences).repeat_interleave(batch.lengths)
        sums_B = torch.zeros(batch.num_sequences, dtype=torch.float64).index_add(0, response_N, log_ratios_N)
        log_ratios_N = sums_B[response_N]
    return log_ratios_N.exp().clamp(max=cap).float()


def mismatch_metrics(log_ratios: torch.Tensor) -> dict[str, float]:
    """How far the trainer's log-probs are from the sampler's before any update, from their differences.

    `sampler/kl` is KL(sampler || trainer) by k3 over the tokens given, nats a token. All zero without tokens.
    """
    log_ratios = log_ratios.double() if log_ratios.numel() else torch.zeros(1, dtype=torch.float64)
    ratios = log_ratios.exp()
    return {
        "sampler/kl": float((ratios - 1 - log_ratios).mean()),
        "sampler/log_ratio_mean": float(log_ratios.mean()),
        "sampler/log_ratio_abs_max": float(log_ratios.abs().max()),
        "sampler/log_ratio_abs_p999": float(log_ratios.abs().quantile(0.999)),
        "sampler/ratio_min": float(ratios.min()),
        "sampler/ratio_max": float(ratios.max()),
    }
