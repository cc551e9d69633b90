"""The numbers of a step. Names follow TRL where it has one; ours come after a slash."""

import dataclasses
import math
import re
import time
from collections import Counter

import torch

from earl.advantage.groups import group_stds
from earl.batch import group_ids, shaped_rewards
from earl.config import Config
from earl.loss.correction import mismatch_metrics
from earl.rollout_source import Sampled
from earl.types import LossOutput, Rollout, RolloutGroup, TokenBatch
from verifiers.types import Outcome


class Clock:
    """Seconds by phase, summed over a step's rounds."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self._last = time.perf_counter()

    def mark(self, phase: str) -> None:
        """What has passed since the last mark was `phase`."""
        now = time.perf_counter()
        self.seconds[phase] += now - self._last
        self._last = now

    def sampled(self, sampled: Sampled) -> None:
        """What has passed since the last mark was spent on these groups: at work, or waiting for those who were."""
        self.mark("wait")
        self.seconds.update({"sample": sampled.sample_s, "judge": sampled.judge_s})


def rollout_metrics(rollouts: list[list[Rollout]]) -> dict[str, float]:
    """Of what was sampled and judged: reward, pass rate, outcomes, what the screen refused, lengths, entropy."""
    every = [rollout for group in rollouts for rollout in group]
    scored = [rollout for rollout in every if rollout.reward is not None]
    outcomes = Counter(rollout.verdict.outcome for rollout in every)
    num_tokens = sum(len(rollout.completion.token_ids) for rollout in every)
    return {
        "reward": _mean([rollout.reward.value for rollout in scored if rollout.reward is not None]),
        "pass_rate": _mean([float(rollout.verdict.passed) for rollout in scored]),
        "entropy": sum(sum(rollout.completion.entropies) for rollout in every) / num_tokens,
        "num_tokens": float(num_tokens),
        "completions/mean_length": num_tokens / len(every),
        "completions/clipped_ratio": _mean([float(r.completion.finish_reason == "length") for r in every]),
        "sim/dropped_rollouts": float(len(every) - len(scored)),
        **{f"sim/{outcome.value}": outcomes[outcome] / len(every) for outcome in Outcome},
        **{f"cheat/{rule}": share for rule, share in _refusals(every).items()},
    }


def _refusals(rollouts: list[Rollout]) -> dict[str, float]:
    """The share of completions that each rule of the screen refused, by the first finding of each.

    `refused` is all of them but for text that is no source code at all, which a weak policy writes without intent.
    """
    refused = [
        r.verdict for r in rollouts if r.verdict.outcome is Outcome.FORBIDDEN_CONSTRUCT and r.verdict.diagnostics
    ]
    rules = Counter(rule_name(verdict.diagnostics[0].message) for verdict in refused)
    meant = sum(number for rule, number in rules.items() if not rule.startswith(_NO_CODE))
    return {rule: number / len(rollouts) for rule, number in sorted(rules.items())} | {"refused": meant / len(rollouts)}


_NO_CODE = ("text", "character", "carriage_return", "lone")


def rule_name(message: str) -> str:
    """A metric name of a finding of the screen: its own words up to the first that the candidate could have chosen."""
    quoted = {"'$": "system_name", "'`": "directive"}
    if message[:2] in quoted:
        return quoted[message[:2]]
    ours = re.match(r"(?:the |a )?([a-z ]*)", message.lower())[1]
    return "_".join(ours.split(" is ")[0].split()[:3]) or "text"


def group_metrics(
    scored: list[RolloutGroup], kept: list[RolloutGroup], rollouts: list[list[Rollout]], config: Config
) -> dict[str, float]:
    """Of the groups: how far their rewards differ, how many had none to give, how many were dropped or train."""
    stds = torch.zeros(0)
    if scored:
        ids_B = group_ids(scored)
        stds = group_stds(shaped_rewards(scored, config), ids_B)[torch.searchsorted(ids_B, torch.arange(len(scored)))]
    return {
        "reward_std": _mean(stds.tolist()),
        "frac_reward_zero_std": _mean((stds < config.advantage.min_std).float().tolist()),
        "sim/dropped_groups": float(len(rollouts) - len(scored)),
        "groups/sampled": float(len(rollouts)),
        "groups/kept": float(len(kept)),
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


def perf_metrics(clock: Clock, rollouts: list[list[Rollout]], batch: TokenBatch | None) -> dict[str, float]:
    """Seconds and rates. Sampling and judging are summed over the processes that do them; a step is this one's time."""
    sample_s, judge_s, train_s = (clock.seconds[phase] for phase in ("sample", "judge", "train"))
    num_sampled = sum(len(rollout.completion.token_ids) for group in rollouts for rollout in group)
    return {
        "perf/sample_s": sample_s,
        "perf/judge_s": judge_s,
        "perf/train_s": train_s,
        "perf/step_s": clock.seconds["wait"] + train_s,
        "perf/sampled_tokens_per_s": num_sampled / sample_s,
        "perf/verdicts_per_s": sum(map(len, rollouts)) / judge_s,
        "perf/trained_tokens_per_s": (batch.num_tokens if batch is not None else 0) / train_s,
    }


def correction_metrics(batch: TokenBatch, cap: float) -> dict[str, float]:
    """Sampler against trainer over all tokens, and of their weights; nothing without a correction.

    `sampler/ess` is the effective sample size as a share of the tokens, (sum w)^2 / (N sum w^2): 1 where all are equal.
    """
    if batch.corrections is None or batch.old_logprobs is None:
        return {}
    weights_N = batch.corrections.double()
    return {
        **mismatch_metrics(batch.old_logprobs - batch.logprobs),
        "sampler/truncated_fraction": float((batch.corrections >= cap).float().mean()),
        "sampler/correction_mean": float(weights_N.mean()),
        "sampler/ess": float(weights_N.sum() ** 2 / (weights_N.numel() * weights_N.square().sum())),
    }


class UpdateMetrics:
    """Sums over the micro-batches of a step, and the means they make. An update that is not finite is left out."""

    def __init__(self) -> None:
        self._open: list[tuple[float, LossOutput, torch.Tensor]] = []  # of the update under way
        self._sums: Counter[str] = Counter()
        self._log_ratios: list[torch.Tensor] = []
        self._ratios: list[torch.Tensor] = []
        self._grad_norms: list[float] = []
        self._loss = 0.0
        self._num_skipped = 0

    def add(self, output: LossOutput, sampler_log_ratios_R: torch.Tensor) -> None:
        """A micro-batch: its loss, and the trainer's log-probs less the sampler's."""
        loss = output.loss.detach()
        self._open.append((float(loss), dataclasses.replace(output, loss=loss), sampler_log_ratios_R))

    def end_update(self, grad_norm: torch.Tensor) -> tuple[float, float]:
        """Loss and gradient norm of the update that the micro-batches since the last end make."""
        parts, self._open = self._open, []
        loss, norm = sum(part[0] for part in parts), float(grad_norm)
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._num_skipped += 1
            return loss, norm
        for _, output, log_ratios_R in parts:
            self._sums.update(output.metrics)
            self._ratios.append(output.ratios)
            if not self._grad_norms:  # no weight has changed yet: what differs is sampler and trainer
                self._log_ratios.append(log_ratios_R)
        self._loss += loss
        self._grad_norms.append(norm)
        return loss, norm

    def values(self) -> dict[str, float]:
        """`sampler/*` compares trainer and sampler on the rows of the first update, `ratio/*` is of all updates."""
        values = {"update/skipped": float(self._num_skipped)}
        if self._num_skipped and not self._grad_norms:
            return values
        num_gated = max(self._sums["num_gated"], 1.0)
        ratios = torch.cat(self._ratios) if self._ratios else torch.zeros(0)
        ratios = ratios if ratios.numel() else torch.ones(1)
        values |= {
            "loss": self._loss,
            "grad_norm": _mean(self._grad_norms),
            "clip_ratio/low_mean": self._sums["num_clipped_low"] / num_gated,
            "clip_ratio/high_mean": self._sums["num_clipped_high"] / num_gated,
            "ratio/mean": float(ratios.mean()),
            "ratio/min": float(ratios.min()),
            "ratio/max": float(ratios.max()),
            **mismatch_metrics(torch.cat(self._log_ratios) if self._log_ratios else torch.zeros(0)),
        }
        if self._sums["num_kl"]:
            values["kl"] = self._sums["kl_sum"] / self._sums["num_kl"]
        return values


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0
