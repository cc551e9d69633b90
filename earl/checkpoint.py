"""Checkpoints of a training run: the policy in Hugging Face layout, the optimiser's state beside it.

Written under a temporary name, synced and renamed, so that a kill leaves the last whole one. Sampling is a function of
seed and step; what else a run carries on (pass rates, a moving reference) comes as `state` and lies in state.pt.
"""

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from earl.policy import Policy
from toolchain.errors import InfrastructureError, UsageError

_NAME = re.compile(r"step_(\d{6})")


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A whole checkpoint on disk."""

    folder: Path
    step: int  # steps finished


def latest(root: Path) -> Checkpoint:
    """The newest checkpoint. UsageError if there is none."""
    found = _all(root)
    if not found:
        raise UsageError(f"{root} holds no checkpoint to resume from; start the run anew")
    return found[-1]


def _all(root: Path) -> list[Checkpoint]:
    folders = root.iterdir() if root.is_dir() else []
    matches = [(folder, _NAME.fullmatch(folder.name)) for folder in folders]
    return sorted(
        (Checkpoint(folder=folder, step=int(match[1])) for folder, match in matches if match),
        key=lambda checkpoint: checkpoint.step,
    )


def save(
    root: Path,
    step: int,
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    *,
    keep: int,
    state: dict[str, Any] | None = None,
) -> Checkpoint:
    """Write the checkpoint of a finished step and remove all but the newest `keep`.

    Raises:
        InfrastructureError: the disk is full or refuses; older checkpoints are untouched.
    """
    target = root / f"step_{step:06d}"
    partial = root / f".partial-{target.name}"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        policy.save(partial)
        torch.save(optimizer.state_dict(), partial / "optimizer.pt")
        torch.save(state or {}, partial / "state.pt")
        (partial / "trainer.json").write_text(json.dumps({"step": step}) + "\n", encoding="utf-8")
        for file in partial.iterdir():
            _sync(file)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
        _sync(root)
    except (OSError, RuntimeError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise InfrastructureError(f"cannot write the checkpoint {target}: {error}; is the disk full?") from error
    for old in _all(root)[:-keep]:
        shutil.rmtree(old.folder)
    return Checkpoint(folder=target, step=step)


def load_optimizer(checkpoint: Checkpoint, optimizer: torch.optim.Optimizer) -> None:
    """Put the saved optimiser state into `optimizer`."""
    optimizer.load_state_dict(torch.load(checkpoint.folder / "optimizer.pt", weights_only=True, map_location="cpu"))


def load_state(checkpoint: Checkpoint) -> dict[str, Any]:
    """What was given to `save` as `state`; empty for a checkpoint without it."""
    path = checkpoint.folder / "state.pt"
    return torch.load(path, weights_only=True, map_location="cpu") if path.exists() else {}


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
