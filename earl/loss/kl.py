"""Estimators of KL(policy || reference) from the log-probs of sampled tokens (joschu.net/blog/kl-approx.html)."""

import torch


def k1(logprobs_N: torch.Tensor, reference_N: torch.Tensor) -> torch.Tensor:
    """log p - log q: unbiased, may be negative."""
    return logprobs_N - reference_N


def k3(logprobs_N: torch.Tensor, reference_N: torch.Tensor) -> torch.Tensor:
    """q/p - log(q/p) - 1: not negative, zero only where equal."""
    log_ratio = reference_N - logprobs_N
    return log_ratio.exp() - log_ratio - 1
