"""Estimators of KL(policy || reference) from the log-probs of sampled tokens (joschu.net/blog/kl-approx.html).

As a loss, k2 has the gradient of the KL itself in expectation; k1's is zero in expectation, so it belongs into the
reward; k3 has the gradient of the reverse direction, which near the reference is nearly the same.
"""

import torch


def k1(logprobs_N: torch.Tensor, reference_N: torch.Tensor) -> torch.Tensor:
    """log p - log q: unbiased, may be negative."""
    return logprobs_N - reference_N


def k2(logprobs_N: torch.Tensor, reference_N: torch.Tensor) -> torch.Tensor:
    """(log p - log q)^2 / 2: not negative, biased, of low variance."""
    return (logprobs_N - reference_N).square() / 2


def k3(logprobs_N: torch.Tensor, reference_N: torch.Tensor) -> torch.Tensor:
    """q/p - log(q/p) - 1: unbiased, not negative, zero only where equal."""
    log_ratio = reference_N - logprobs_N
    return log_ratio.exp() - log_ratio - 1


ESTIMATORS = {"k1": k1, "k2": k2, "k3": k3}


def estimator_of(name: str, where: str) -> str:
    """The estimator that `kl.estimator` stands for at `kl.where`."""
    return name if name != "auto" else "k1" if where == "reward" else "k3"
