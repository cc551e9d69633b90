"""Takes an update once more that was left out of a run, from the batch that `earl.guard` kept. Changes no file."""

import itertools
import json
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from safetensors.torch import load_file

from earl import checkpoint as checkpoints
from earl.config import Config
from earl.forward import Layout, Sequences, lay_out
from earl.policy import load_trainable
from earl.run_folder import RunFolder
from earl.step import accumulate_gradients
from earl.step_metrics import UpdateMetrics
from earl.torch_setup import set_up_torch
from earl.types import TokenBatch
from toolchain.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class Replay:
    """What came of it. `bad_parameters` are those whose gradient is NaN or infinite somewhere."""

    loss: float
    grad_norm: float
    bad_parameters: tuple[str, ...]
    weights: str  # folder or name of what was loaded


@dataclass(frozen=True, kw_only=True, slots=True)
class KeptBatch:
    """A batch as an update takes it: tokens, gate (N,), and groups with their prompts."""

    batch: TokenBatch
    gate_N: torch.Tensor
    layouts: list[Layout]


def load_batch(folder: Path) -> KeptBatch:
    """The batch in a folder `RUN/skipped/step_N_update_M`. UsageError when there is none."""
    try:
        tensors = load_file(folder / "batch.safetensors")
        rows = [json.loads(line) for line in (folder / "rollouts.jsonl").read_text(encoding="utf-8").splitlines()]
    except FileNotFoundError as error:
        raise UsageError(
            f"{folder} holds no skipped batch; give one of RUN/skipped, with batch.safetensors and rollouts.jsonl"
        ) from error
    gate_N = tensors.pop("gate")
    known = {field.name for field in fields(TokenBatch)}
    batch = TokenBatch(**{name: tensor for name, tensor in tensors.items() if name in known})
    members = zip(batch.group_ids.tolist(), rows, strict=True)
    groups = [[row for _, row in group] for _, group in itertools.groupby(members, key=lambda member: member[0])]
    layouts = [
        lay_out(
            Sequences(
                prompt=tuple(group[0]["prompt_token_ids"]), responses=tuple(tuple(row["token_ids"]) for row in group)
            )
        )
        for group in groups
    ]
    return KeptBatch(batch=batch, gate_N=gate_N, layouts=layouts)


def replay(folder: str | Path, *, checkpoint: str | Path | None = None) -> Replay:
    """Loss and gradient of a skipped batch, with the run's config.

    The weights are those of `checkpoint`; by default of the run's newest one up to the batch's step, else of
    `model.path`.

    Raises:
        UsageError: there is no such batch, or it lies in no run.
    """
    folder = Path(folder)
    kept, run = load_batch(folder), RunFolder.open(folder.parent.parent)
    config = run.config()
    set_up_torch(config.run.num_threads, config.model.ops)
    weights = str(checkpoint) if checkpoint else _weights_before(run, int(folder.name.split("_")[1]), config)
    policy = load_trainable(weights, config)
    metrics = UpdateMetrics()
    accumulate_gradients(config, policy, kept.batch, kept.gate_N, kept.layouts, metrics)
    gradients = {name: p.grad for name, p in policy.model.named_parameters() if p.grad is not None}
    loss, norm = metrics.end_update(torch.nn.utils.get_total_norm(list(gradients.values())))
    bad = tuple(name for name, gradient in gradients.items() if not bool(gradient.isfinite().all()))
    return Replay(loss=loss, grad_norm=norm, bad_parameters=bad, weights=weights)


def _weights_before(run: RunFolder, step: int, config: Config) -> str:
    saved = [found for found in checkpoints.every(run.checkpoints) if found.step <= step]
    return str(saved[-1].folder) if saved else config.model.path
