"""The objective: gated surrogate plus KL, over rows of a batch, with denominators of the whole optimiser batch.

    loss = sum over gated tokens of w * max(-rA, -clip(r)A)  +  beta * sum over KL tokens of k3 / (number of them)

w = 1 / (all tokens), 1 / (gated tokens), or 1 / (sequences * length of the token's own response). Because every
denominator is counted beforehand over the whole batch, micro-batches add up to the same loss however they are cut.
"""

import torch

from earl.config import KlConfig, LossConfig
from earl.loss import LOSSES
from earl.loss.kl import k3
from earl.types import Counts, LossOutput, TokenBatch


def count(batch: TokenBatch, gate_N: torch.Tensor) -> Counts:
    """The denominators of an optimiser batch."""
    return Counts(num_tokens=batch.num_tokens, num_gated=int(gate_N.sum()), num_sequences=batch.num_sequences)


def surrogate_weights(batch: TokenBatch, gate_N: torch.Tensor, counts: Counts, denominator: str) -> torch.Tensor:
    """What each token's surrogate is multiplied by (N,): 0 where the gate is closed."""
    if denominator == "sequences":
        weights = torch.repeat_interleave(1.0 / (batch.lengths * counts.num_sequences), batch.lengths)
    else:
        total = counts.num_tokens if denominator == "tokens" else counts.num_gated
        weights = torch.full((batch.num_tokens,), 1.0 / max(total, 1), device=gate_N.device)
    return weights.float() * gate_N


def kl_weights(batch: TokenBatch, gate_N: torch.Tensor, counts: Counts, config: KlConfig) -> torch.Tensor:
    """What each token's k3 is multiplied by (N,): zeros when KL is off or lives in the reward."""
    if config.beta == 0 or config.where == "reward":
        return torch.zeros(batch.num_tokens, device=gate_N.device)
    if config.where == "gated":
        return gate_N * (config.beta / max(counts.num_gated, 1))
    return torch.full((batch.num_tokens,), config.beta / max(counts.num_tokens, 1), device=gate_N.device)


def policy_loss(
    logprobs_R: torch.Tensor,
    rows_R: torch.Tensor,
    batch: TokenBatch,
    weights: tuple[torch.Tensor, torch.Tensor],
    config: LossConfig,
) -> LossOutput:
    """The part of the loss that comes from the rows given.

    Args:
        logprobs_R: current log-probs of the tokens `rows_R`, with gradient.
        rows_R: indices into the batch's packed tokens.
        weights: surrogate and KL weights of all N tokens.

    Returns:
        The loss (a sum: already divided by the batch's denominators) and sums for metrics over the rows given.
    """
    surrogate_R, kl_R = weights[0][rows_R], weights[1][rows_R]
    log_ratio = logprobs_R - batch.logprobs[rows_R]
    token_loss, is_clipped = LOSSES[config.name](log_ratio.exp(), batch.advantages[rows_R], config)
    loss = (surrogate_R * token_loss).sum()
    is_gated = surrogate_R > 0
    low = is_clipped & is_gated & (batch.advantages[rows_R] < 0)
    high = is_clipped & is_gated & (batch.advantages[rows_R] >= 0)
    metrics = {
        "num_gated": float(is_gated.sum()),
        "num_clipped_low": float(low.sum()),
        "num_clipped_high": float(high.sum()),
        "kl_sum": 0.0,
        "num_kl": 0.0,
    }
    if batch.reference_logprobs is not None:
        divergence = k3(logprobs_R, batch.reference_logprobs[rows_R])
        if bool((kl_R > 0).any()):
            loss = loss + (kl_R * divergence).sum()
        metrics["kl_sum"] = float(divergence.detach().sum())
        metrics["num_kl"] = float(divergence.numel())
    return LossOutput(loss=loss, metrics=metrics)
