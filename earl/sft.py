"""Supervised training on prompts and completions: the loss is that of the completions' tokens only.

The examples of an update lie end to end in packs of at most `sft.pack_tokens` tokens, each seeing itself alone at
positions of its own: loss and gradient are those of one example at a time, whatever the packs.
"""

import math
import time
from collections.abc import Sequence
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
from earl.ops import TokenStats
from earl.optimizers import make_optimizer
from earl.packing import pack
from earl.policy import Policy, PromptEncoder
from earl.sft_data import Example, SftData
from earl.sft_loss import SftLoss, make_sft_loss
from earl.sft_schedule import learning_rate_at, plan_batches
from toolchain.errors import InfrastructureError, UsageError

_QUIET = Hooks()


@dataclass(frozen=True, kw_only=True, slots=True)
class SftResult:
    """Steps done of steps planned, the last loss, and the last loss on validation examples (None: not measured)."""

    num_steps: int
    num_planned: int
    loss: float
    validation_loss: float | None


def sft(
    policy: Policy,
    data: SftData,
    config: Config,
    folder: Path,
    *,
    resumed: checkpoint.Checkpoint | None = None,
    hooks: Hooks = _QUIET,
) -> SftResult:
    """Train on `data`; stops early, at a step's end, when asked. The caller saves the policy.

    Checkpoints lie under `folder`, one also where a run was stopped; `resumed` is such a one, whose weights `policy`
    holds. On a CPU a resumed run ends with the bytes that an unbroken one would.

    Raises:
        UsageError: no example fits into `sft.pack_tokens`.
        InfrastructureError: the loss is no number any more.
    """
    loss = make_sft_loss(config.sft.loss)
    train = _laid_out(policy.encoder, data.train, config, hooks)
    validation = _laid_out(policy.encoder, data.validation, config, hooks)
    if not train:
        raise UsageError(f"no example fits into sft.pack_tokens = {config.sft.pack_tokens}; raise it")
    batches = plan_batches(len(train), config)
    optimizer = make_optimizer(policy.model, config.optimizer, weight_decay=config.sft.weight_decay)
    step, metrics = 0, {}
    if resumed:
        checkpoint.load_optimizer(resumed, optimizer)
        step, metrics = resumed.step, checkpoint.load_state(resumed)["metrics"]
    log = MetricsLog(folder / "metrics.jsonl", last_step=step)
    for indices in batches[step:]:
        step += 1
        rate = learning_rate_at(step, len(batches), config)
        metrics = _update(policy.model, optimizer, [train[index] for index in indices], loss, config, rate)
        metrics["epoch"] = step * config.sft.num_epochs / len(batches)
        every = config.sft.checkpoint_every
        is_last, is_due = step == len(batches), bool(every and step % every == 0)
        if validation and (is_last or is_due):
            metrics |= validation_metrics(policy.model, validation, config)
        log.write(step, metrics)
        hooks.on_step(step, len(batches), metrics)
        is_stopped = hooks.should_stop() and not is_last
        if is_due or is_stopped:
            checkpoint.save(folder / "checkpoints", step, policy, optimizer, keep=1, state={"metrics": metrics})
        if is_stopped:
            break
    log.close()
    return SftResult(
        num_steps=step,
        num_planned=len(batches),
        loss=metrics["loss"],
        validation_loss=metrics.get("validation/loss"),
    )


def _laid_out(encoder: PromptEncoder, examples: Sequence[Example], config: Config, hooks: Hooks) -> list[Layout]:
    """The examples as token ids; those too long for a pack are left out, and told."""
    layouts = []
    for example in examples:
        completion = encoder.encode_completion(example.completion)
        layouts.append(lay_out(Sequences(prompt=encoder.encode_prompt(example.prompt), responses=(completion,))))
    kept = [layout for layout in layouts if layout.token_ids_S.numel() <= config.sft.pack_tokens]
    if len(kept) < len(layouts):
        hooks.warn(
            f"left out {len(layouts) - len(kept)} of {len(layouts)} examples: longer than sft.pack_tokens ="
            f" {config.sft.pack_tokens}"
        )
    return kept


def _update(
    model: PreTrainedModel,
    optimizer: torch.optim.Optimizer,
    examples: list[Layout],
    loss: SftLoss,
    config: Config,
    learning_rate: float,
) -> dict[str, float]:
    """One update of the optimiser. Returns its metrics."""
    started = time.perf_counter()
    packs = pack([layout.token_ids_S.numel() for layout in examples], config.sft.pack_tokens)
    totals = accumulate_gradients(model, [[examples[index] for index in chosen] for chosen in packs], loss, config)
    if not math.isfinite(totals["loss"]):
        raise InfrastructureError(f"the loss is {totals['loss']}; lower sft.learning_rate, and look at the examples")
    grad_norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.sft.max_grad_norm or float("inf"))
    for parameters in optimizer.param_groups:
        parameters["lr"] = learning_rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    seconds = time.perf_counter() - started
    num_fed = sum(layout.token_ids_S.numel() for layout in examples)
    return {
        **totals,
        "grad_norm": float(grad_norm),
        "learning_rate": learning_rate,
        "num_packs": float(len(packs)),
        "perf/step_s": seconds,
        "perf/trained_tokens_per_s": totals["num_tokens"] / seconds,
        "perf/fed_tokens_per_s": num_fed / seconds,
    }


def accumulate_gradients(
    model: PreTrainedModel, packs: list[list[Layout]], loss: SftLoss, config: Config
) -> dict[str, float]:
    """Backward of the mean loss over all training tokens of all packs. Returns the means over all their tokens."""
    lengths = [layout.targets.numel() for examples in packs for layout in examples]
    num_trained = sum(map(loss.num_trained, lengths))
    sums = {"loss": 0.0, "cross_entropy": 0.0, "entropy": 0.0}
    for examples in packs:
        stats = _stats(model, examples, config)
        values = loss(stats, [layout.targets.numel() for layout in examples])
        (values.sum() / num_trained).backward()
        for name, values_N in (("loss", values), ("cross_entropy", -stats.logprob), ("entropy", stats.entropy)):
            sums[name] += float(values_N.detach().sum(dtype=torch.float64))
    num_tokens = sum(lengths)
    return {
        "loss": sums["loss"] / num_trained,
        "cross_entropy": sums["cross_entropy"] / num_tokens,
        "entropy": sums["entropy"] / num_tokens,
        "num_tokens": float(num_tokens),
        "trained_fraction": num_trained / num_tokens,
    }


@torch.no_grad()
def validation_metrics(model: PreTrainedModel, examples: list[Layout], config: Config) -> dict[str, float]:
    """Mean cross-entropy and entropy (nats a token) of examples that do not train."""
    cross_entropy, entropy, num_tokens = 0.0, 0.0, 0
    for chosen in pack([layout.token_ids_S.numel() for layout in examples], config.sft.pack_tokens):
        stats = _stats(model, [examples[index] for index in chosen], config)
        cross_entropy -= float(stats.logprob.sum(dtype=torch.float64))
        entropy += float(stats.entropy.sum(dtype=torch.float64))
        num_tokens += stats.logprob.numel()
    return {"validation/loss": cross_entropy / num_tokens, "validation/entropy": entropy / num_tokens}


def _stats(model: PreTrainedModel, examples: list[Layout], config: Config) -> TokenStats:
    dtype = compute_dtype(config.model.dtype)
    return token_stats(model, examples, temperature=1.0, dtype=dtype, head_dtype=dtype)
