"""Supervised training on prompts and completions: the loss is that of the completions' tokens only.

The examples of an update lie end to end in packs of at most `sft.pack_tokens` tokens, each seeing itself alone at
positions of its own: loss and gradient are those of one example at a time, whatever the packs.
"""

import json
import math
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from transformers import PreTrainedModel

from earl import checkpoint
from earl.config import Config
from earl.engine import compute_dtype
from earl.forward import Layout, Sequences, lay_out, token_stats
from earl.guard import Guard, TrainingDiverged
from earl.hooks import Hooks
from earl.metrics import MetricsLog
from earl.ops import TokenStats
from earl.optimizers import make_optimizer
from earl.packing import pack
from earl.policy import Policy, PromptEncoder
from earl.sft_data import Example, SftData
from earl.sft_loss import SftLoss, make_sft_loss
from earl.sft_schedule import learning_rate_at, plan_batches
from earl.step import SkippedUpdate
from toolchain.errors import UsageError

_QUIET = Hooks()


@dataclass(frozen=True, kw_only=True, slots=True)
class SftResult:
    """Steps done of steps planned, the loss of the last step (NaN: its update was skipped), and the last loss on
    validation examples (None: not measured)."""

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
        TrainingDiverged: updates are no finite numbers; a checkpoint of the last good weights was written.
    """
    loss = make_sft_loss(config.sft.loss)
    train, validation = (_laid_out(policy.encoder, part, config, hooks) for part in (data.train, data.validation))
    if not train:
        raise UsageError(f"no example fits into sft.pack_tokens = {config.sft.pack_tokens}; raise it")
    batches = plan_batches(len(train), config)
    optimizer = make_optimizer(policy.model, config.optimizer)
    guard = Guard(folder / "skipped", hooks.warn, remedy="sft.learning_rate")
    step, metrics = _resume(resumed, optimizer, guard) if resumed else (0, {})

    def save() -> None:
        state = {"metrics": metrics, "guard": guard.state_dict()}
        checkpoint.save(folder / "checkpoints", step, policy, optimizer, keep=1, state=state)

    with closing(MetricsLog(folder / "metrics.jsonl", last_step=step)) as log:
        for indices in batches[step:]:
            step += 1
            rate = learning_rate_at(step, len(batches), config)
            batch = [train[index] for index in indices]
            metrics, skipped = _update(policy.model, optimizer, [layout for _, layout in batch], loss, config, rate)
            metrics["epoch"] = step * config.sft.num_epochs / len(batches)
            every = config.sft.checkpoint_every
            is_last, is_due = step == len(batches), bool(every and step % every == 0)
            if validation and (is_last or is_due):
                metrics |= validation_metrics(policy.model, [layout for _, layout in validation], config)
            log.write(step, metrics)
            try:
                guard.hear(step, skipped, partial(_keep_examples, [example for example, _ in batch]))
            except TrainingDiverged:
                save()
                raise
            hooks.on_step(step, len(batches), metrics)
            is_stopped = hooks.should_stop() and not is_last
            if is_due or is_stopped:
                save()
            if is_stopped:
                break
    return SftResult(
        num_steps=step,
        num_planned=len(batches),
        loss=metrics.get("loss", math.nan),
        validation_loss=metrics.get("validation/loss"),
    )


def _resume(
    saved: checkpoint.Checkpoint, optimizer: torch.optim.Optimizer, guard: Guard
) -> tuple[int, dict[str, float]]:
    """Put a checkpoint into optimiser and guard; returns its step and that step's metrics."""
    checkpoint.load_optimizer(saved, optimizer)
    state = checkpoint.load_state(saved)
    guard.load_state_dict(state["guard"])
    return saved.step, state["metrics"]


def _keep_examples(examples: list[Example], skipped: SkippedUpdate, folder: Path) -> None:
    """The examples of an update, in order, in a file that `sft.files` takes."""
    rows = "".join(json.dumps(asdict(example)) + "\n" for example in examples)
    (folder / "examples.jsonl").write_text(rows, encoding="utf-8")


def _laid_out(
    encoder: PromptEncoder, examples: Sequence[Example], config: Config, hooks: Hooks
) -> list[tuple[Example, Layout]]:
    """The examples with their token ids; those too long for a pack are left out, and told."""
    kept = []
    for example in examples:
        completion = encoder.encode_completion(example.completion)
        layout = lay_out(Sequences(prompt=encoder.encode_prompt(example.prompt), responses=(completion,)))
        if layout.token_ids_S.numel() <= config.sft.pack_tokens:
            kept.append((example, layout))
    if len(kept) < len(examples):
        hooks.warn(
            f"left out {len(examples) - len(kept)} of {len(examples)} examples: longer than sft.pack_tokens ="
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
) -> tuple[dict[str, float], tuple[SkippedUpdate, ...]]:
    """One update of the optimiser, left out if it is no finite number: its metrics, or what was left out."""
    started = time.perf_counter()
    packs = pack([layout.token_ids_S.numel() for layout in examples], config.sft.pack_tokens)
    totals = accumulate_gradients(model, [[examples[index] for index in chosen] for chosen in packs], loss, config)
    totals["grad_norm"] = float(
        torch.nn.utils.clip_grad_norm_(model.parameters(), config.optimizer.max_grad_norm or float("inf"))
    )
    for parameters in optimizer.param_groups:
        parameters["lr"] = learning_rate
    skipped: tuple[SkippedUpdate, ...] = ()
    if math.isfinite(totals["loss"]) and math.isfinite(totals["grad_norm"]):
        optimizer.step()
    else:
        values = {name: totals.pop(name) for name in ("loss", "grad_norm")}
        skipped = (SkippedUpdate(number=1, first_group=0, last_group=len(examples) - 1, **values),)
        del totals["cross_entropy"], totals["entropy"]
    optimizer.zero_grad(set_to_none=True)
    seconds = time.perf_counter() - started
    num_fed = sum(layout.token_ids_S.numel() for layout in examples)
    metrics = {
        **totals,
        "update/skipped": float(len(skipped)),
        "learning_rate": learning_rate,
        "num_packs": float(len(packs)),
        "perf/step_s": seconds,
        "perf/trained_tokens_per_s": totals["num_tokens"] / seconds,
        "perf/fed_tokens_per_s": num_fed / seconds,
    }
    return metrics, skipped


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
