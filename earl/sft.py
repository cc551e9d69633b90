"""Warm start: supervised training on specification and golden, loss on the completion's tokens only."""

import random
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import PreTrainedModel

from earl import checkpoint
from earl.config import Config
from earl.engine import compute_dtype
from earl.forward import Layout, Sequences, lay_out, token_stats
from earl.hooks import Hooks
from earl.metrics import MetricsLog
from earl.policy import Policy, PromptEncoder
from verifiers.types import Problem

_QUIET = Hooks()
_BUCKET = 8  # batches whose examples are sorted by length together: little padding, order still shuffled


@dataclass(frozen=True, kw_only=True, slots=True)
class SftResult:
    """Steps done of steps planned, and the last loss."""

    num_steps: int
    num_planned: int
    loss: float


def sft(
    policy: Policy,
    problems: list[Problem],
    config: Config,
    folder: Path,
    *,
    resumed: checkpoint.Checkpoint | None = None,
    hooks: Hooks = _QUIET,
) -> SftResult:
    """Train on the goldens of `problems`; stops early, at a step's end, when asked. The caller saves the policy.

    A stopped run leaves a checkpoint under `folder`; `resumed` is that checkpoint, whose weights `policy` holds.
    """
    examples = [_example(policy.encoder, problem) for problem in problems]
    batches = plan_batches([example.token_ids_S.numel() for example in examples], config)
    optimizer = torch.optim.AdamW(policy.model.parameters(), weight_decay=config.sft.weight_decay, fused=True)
    if resumed:
        checkpoint.load_optimizer(resumed, optimizer)
    step = resumed.step if resumed else 0
    log = MetricsLog(folder / "metrics.jsonl", last_step=step)
    metrics = {"loss": float("nan")}
    for indices in batches[step:]:
        step += 1
        metrics = _step(policy.model, optimizer, [examples[index] for index in indices], config, step, len(batches))
        log.write(step, metrics)
        hooks.on_step(step, len(batches), metrics)
        if hooks.should_stop() and step < len(batches):
            checkpoint.save(folder / "checkpoints", step, policy, optimizer, keep=1)
            break
    log.close()
    return SftResult(num_steps=step, num_planned=len(batches), loss=metrics["loss"])


def _example(encoder: PromptEncoder, problem: Problem) -> Layout:
    completion = encoder.encode_completion(problem.oracle.golden.strip("\n"))
    return lay_out(Sequences(prompt=encoder.encode_prompt(problem.prompt), responses=(completion,)))


def plan_batches(lengths: list[int], config: Config) -> list[list[int]]:
    """Indices of every batch of the run: a pure function of lengths and seed."""
    size = config.sft.batch_size
    batches: list[list[int]] = []
    for epoch in range(config.sft.num_epochs):
        rng = random.Random(f"{config.run.seed}:sft:{epoch}")
        order = list(range(len(lengths)))
        rng.shuffle(order)
        for start in range(0, len(order), size * _BUCKET):
            bucket = sorted(order[start : start + size * _BUCKET], key=lambda index: (lengths[index], index))
            chunks = [bucket[i : i + size] for i in range(0, len(bucket), size)]
            rng.shuffle(chunks)
            batches += chunks
    return batches


def learning_rate_at(step: int, num_steps: int, config: Config) -> float:
    """Linear warm-up, then linear to zero. Steps count from 1."""
    warmup = max(1, round(config.sft.warmup_fraction * num_steps))
    shape = step / warmup if step < warmup else (num_steps - step + 1) / (num_steps - warmup + 1)
    return config.sft.learning_rate * shape


def _step(
    model: PreTrainedModel,
    optimizer: torch.optim.Optimizer,
    examples: list[Layout],
    config: Config,
    step: int,
    num_steps: int,
) -> dict[str, float]:
    started = time.perf_counter()
    for parameters in optimizer.param_groups:
        parameters["lr"] = learning_rate_at(step, num_steps, config)
    dtype = compute_dtype(config.model.dtype)
    stats = token_stats(model, examples, temperature=1.0, dtype=dtype, head_dtype=dtype)
    loss = -stats.logprob.mean()
    loss.backward()
    max_norm = config.sft.max_grad_norm or float("inf")
    grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    seconds = time.perf_counter() - started
    return {
        "loss": float(loss.detach()),
        "entropy": float(stats.entropy.detach().mean()),
        "grad_norm": float(grad_norm),
        "learning_rate": optimizer.param_groups[0]["lr"],
        "num_tokens": float(stats.logprob.numel()),
        "perf/step_s": seconds,
        "perf/trained_tokens_per_s": stats.logprob.numel() / seconds,
    }
