"""The objective: gated surrogate plus KL, over rows of a batch, with denominators of the whole optimiser batch.

    loss = sum over gated tokens of w * c * surrogate(r, A)  +  beta * sum over KL tokens of kl / (number of them)

c is the truncated importance weight of sampler to trainer, 1 where the two agree. w = 1 / (all tokens), 1 / (gated
tokens), 1 / (sequences * length of the token's own response), or 1 / (sequences * the length limit). Because every
denominator is counted beforehand over the whole batch, micro-batches add up to the same loss however they are cut.
"""

import torch

from earl import ops
from earl.config import KlConfig, LossConfig
from earl.loss import LOSSES
from earl.loss.kl import ESTIMATORS, k3
from earl.types import Counts, LossOutput, TokenBatch


def count(batch: TokenBatch, gate_N: torch.Tensor, max_tokens: int) -> Counts:
    """The denominators of an optimiser batch."""
    return Counts(
        num_tokens=batch.num_tokens,
        num_gated=int(gate_N.sum()),
        num_sequences=batch.num_sequences,
        max_tokens=max_tokens,
    )


def surrogate_weights(batch: TokenBatch, gate_N: torch.Tensor, counts: Counts, denominator: str) -> torch.Tensor:
    """What each token's surrogate is multiplied by (N,), w * c: 0 where the gate is closed."""
    if denominator == "sequences":
        weights = torch.repeat_interleave(1.0 / (batch.lengths * counts.num_sequences), batch.lengths)
    else:
        totals = {
            "tokens": counts.num_tokens,
            "gated": counts.num_gated,
            "constant": counts.num_sequences * counts.max_tokens,
        }
        weights = torch.full((batch.num_tokens,), 1.0 / max(totals[denominator], 1), device=gate_N.device)
    weights = weights.float() * gate_N
    return weights if batch.corrections is None else weights * batch.corrections


def kl_weights(batch: TokenBatch, gate_N: torch.Tensor, counts: Counts, config: KlConfig) -> torch.Tensor:
    """What each token's KL is multiplied by (N,): zeros when KL is off or lives in the reward."""
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
    kl_estimator: str = "k3",
) -> LossOutput:
    """The part of the loss that comes from the rows given.

    Args:
        logprobs_R: current log-probs of the tokens `rows_R`, with gradient.
        rows_R: indices into the batch's packed tokens.
        weights: surrogate and KL weights of all N tokens.

    Returns:
        The loss (a sum: already divided by the batch's denominators) and sums for metrics over the rows given.
    """
    if config.name == "ppo_clip" and kl_estimator == "k3":
        return _fused_loss(logprobs_R, rows_R, batch, weights, config)
    surrogate_R, kl_R = weights[0][rows_R], weights[1][rows_R]
    is_gated, advantages_R = surrogate_R > 0, batch.advantages[rows_R]
    old_N = batch.logprobs if batch.old_logprobs is None else batch.old_logprobs
    responses_R = torch.searchsorted(batch.row_offsets[1:], rows_R, right=True)
    method = LOSSES[config.name]
    ratios_R = method.ratios(logprobs_R - old_N[rows_R], responses_R, is_gated)
    token_loss, is_clipped = method.surrogate(ratios_R, advantages_R, config)
    loss = (surrogate_R * token_loss).sum()
    metrics = {
        "num_gated": float(is_gated.sum()),
        "num_clipped_low": float((is_clipped & is_gated & (advantages_R < 0)).sum()),
        "num_clipped_high": float((is_clipped & is_gated & (advantages_R >= 0)).sum()),
        "kl_sum": 0.0,
        "num_kl": 0.0,
    }
    if batch.reference_logprobs is not None:
        reference_R = batch.reference_logprobs[rows_R]
        if bool((kl_R > 0).any()):
            loss = loss + (kl_R * ESTIMATORS[kl_estimator](logprobs_R, reference_R)).sum()
        metrics["kl_sum"] = float(k3(logprobs_R.detach(), reference_R).sum())
        metrics["num_kl"] = float(reference_R.numel())
    return LossOutput(loss=loss, metrics=metrics, ratios=ratios_R.detach()[is_gated])


def _fused_loss(
    logprobs_R: torch.Tensor,
    rows_R: torch.Tensor,
    batch: TokenBatch,
    weights: tuple[torch.Tensor, torch.Tensor],
    config: LossConfig,
) -> LossOutput:
    """`policy_loss` of the one surrogate and KL that are an op."""

    def column(values_N: torch.Tensor | None) -> torch.Tensor | None:
        return None if values_N is None else values_N[rows_R].to(logprobs_R)  # its type, and its device

    old_R = column(batch.logprobs if batch.old_logprobs is None else batch.old_logprobs)
    surrogate_R, kl_R = column(weights[0]), column(weights[1])
    loss, sums = ops.in_force().gated_surrogate(
        logprobs_R, old_R, column(batch.advantages), column(batch.reference_logprobs), (surrogate_R, kl_R), config
    )
    names = ("num_gated", "num_clipped_low", "num_clipped_high", "kl_sum", "num_kl")
    ratios_R = (logprobs_R.detach() - old_R).exp()
    return LossOutput(loss=loss, metrics=dict(zip(names, sums.tolist(), strict=True)), ratios=ratios_R[surrogate_R > 0])
