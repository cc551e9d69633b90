"""The numbers of a step. Names follow TRL where it has one; ours come after a slash."""

import itertools
import math
from collections import Counter

import torch

from earl.batch import group_rewards
from earl.types import LossOutput, Rollout, RolloutGroup, TokenBatch
from verifiers.types import Outcome


def rollout_metrics(rollouts: list[list[Rollout]], groups: list[RolloutGroup], min_std: float) -> dict[str, float]:
    """Of what was sampled and judged: reward, pass rate, outcomes, lengths, entropy."""
    every = [rollout for group in rollouts for rollout in group]
    scored = [rollout for rollout in every if rollout.reward is not None]
    outcomes = Counter(rollout.verdict.outcome for rollout in every)
    deviations = [float(group_rewards(group).std()) for group in groups]
    num_tokens = sum(len(rollout.completion.token_ids) for rollout in every)
    return {
        "reward": _mean([rollout.reward.value for rollout in scored if rollout.reward is not None]),
        "reward_std": _mean(deviations),
        "pass_rate": _mean([float(rollout.verdict.passed) for rollout in scored]),
        "frac_reward_zero_std": _mean([float(deviation < min_std) for deviation in deviations]),
        "entropy": sum(sum(rollout.completion.entropies) for rollout in every) / num_tokens,
        "num_tokens": float(num_tokens),
        "completions/mean_length": num_tokens / len(every),
        "completions/clipped_ratio": _mean([float(r.completion.finish_reason == "length") for r in every]),
        "sim/dropped_rollouts": float(len(every) - len(scored)),
        "sim/dropped_groups": float(len(rollouts) - len(groups)),
        **{f"sim/{outcome.value}": outcomes[outcome] / len(every) for outcome in Outcome},
    }


def gate_metrics(batch: TokenBatch, gate_N: torch.Tensor) -> dict[str, float]:
    """Of the gate: the kept share, its threshold (lowest entropy kept, mean over responses), exact zeros."""
    thresholds = []
    for start, stop in zip(batch.row_offsets[:-1].tolist(), batch.row_offsets[1:].tolist(), strict=True):
        kept = batch.entropies[start:stop][gate_N[start:stop]]
        if kept.numel():
            thresholds.append(float(kept.min()))
    return {
        "gate/kept_fraction": float(gate_N.float().mean()),
        "gate/threshold": _mean(thresholds),
        "gate/entropy_kept": _mean(batch.entropies[gate_N].tolist()),
        "gate/frac_zero_entropy": float((batch.entropies == 0).float().mean()),
    }


def perf_metrics(clock: list[float], rollouts: list[list[Rollout]], batch: TokenBatch | None) -> dict[str, float]:
    """Seconds and rates. `clock`: start, sampled, judged, updated."""
    sample_s, judge_s, train_s = (later - earlier for earlier, later in itertools.pairwise(clock))
    num_sampled = sum(len(rollout.completion.token_ids) for group in rollouts for rollout in group)
    return {
        "perf/sample_s": sample_s,
        "perf/judge_s": judge_s,
        "perf/train_s": train_s,
        "perf/step_s": sample_s + judge_s + train_s,
        "perf/sampled_tokens_per_s": num_sampled / sample_s,
        "perf/verdicts_per_s": sum(map(len, rollouts)) / judge_s,
        "perf/trained_tokens_per_s": (batch.num_tokens if batch is not None else 0) / train_s,
    }


class UpdateMetrics:
    """Sums over the micro-batches of a step, and the means they make."""

    def __init__(self) -> None:
        self._sums: Counter[str] = Counter()
        self._log_ratios: list[torch.Tensor] = []
        self._grad_norms: list[float] = []
        self._loss = 0.0

    def add(self, output: LossOutput, logprobs_R: torch.Tensor, sampling_logprobs_R: torch.Tensor) -> None:
        self._sums.update(output.metrics)
        self._loss += float(output.loss.detach())
        self._log_ratios.append((logprobs_R - sampling_logprobs_R).double())

    def grad_norm(self, norm: torch.Tensor) -> None:
        self._grad_norms.append(float(norm))

    def values(self) -> dict[str, float]:
        """`sampler/*` compares the trainer's log-probs with the sampler's on the rows that were trained."""
        log_ratio = torch.cat(self._log_ratios) if self._log_ratios else torch.zeros(1, dtype=torch.float64)
        num_gated = max(self._sums["num_gated"], 1.0)
        values = {
            "loss": self._loss,
            "grad_norm": _mean(self._grad_norms),
            "clip_ratio/low_mean": self._sums["num_clipped_low"] / num_gated,
            "clip_ratio/high_mean": self._sums["num_clipped_high"] / num_gated,
            "sampler/log_ratio_mean": float(log_ratio.mean()),
            "sampler/log_ratio_abs_max": float(log_ratio.abs().max()),
            "sampler/log_ratio_abs_p999": float(log_ratio.abs().quantile(0.999)),
        }
        if self._sums["num_kl"]:
            values["kl"] = self._sums["kl_sum"] / self._sums["num_kl"]
        return values


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0
