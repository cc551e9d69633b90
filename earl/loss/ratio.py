"""Importance ratios to the old policy: one a token, or one a sequence (GSPO, arXiv 2507.18071)."""

import torch


def token_ratios(log_ratios_R: torch.Tensor, responses_R: torch.Tensor, is_gated_R: torch.Tensor) -> torch.Tensor:
    """exp(log-ratio) of each token (R,)."""
    return log_ratios_R.exp()


def sequence_ratios(log_ratios_R: torch.Tensor, responses_R: torch.Tensor, is_gated_R: torch.Tensor) -> torch.Tensor:
    """exp(mean log-ratio) over the tokens of a row's response that the gate lets through (R,).

    With an open gate that is GSPO's ratio, the geometric mean over the response. A closed token has no part in it: its
    log-prob need not be known. All rows of a response must be given together, as they are: groups are never cut.
    """
    num_responses = int(responses_R.max()) + 1 if responses_R.numel() else 0
    weights_R = is_gated_R.to(log_ratios_R.dtype)
    sums_B = log_ratios_R.new_zeros(num_responses).index_add(0, responses_R, log_ratios_R * weights_R)
    counts_B = log_ratios_R.new_zeros(num_responses).index_add(0, responses_R, weights_R)
    return (sums_B / counts_B.clamp(min=1)).exp()[responses_R]
