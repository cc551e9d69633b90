"""Checkpoints of a training run: the policy in Hugging Face layout, the optimiser's state beside it.

Written under a temporary name, synced and renamed, so that a kill leaves the last whole one. `trainer.json` is written
last and lists every file with its size and digest: one that is damaged is never trained from, and is named. Sampling is
a function of seed and step; what else a run carries on (random states, pass rates, a moving reference, what the run was
started with) comes as `state` and lies in state.pt.
"""

import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from earl.policy import Policy
from toolchain.errors import InfrastructureError

_NAME = re.compile(r"step_(\d{6,})")
_MANIFEST = "trainer.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A checkpoint on disk."""

    folder: Path
    step: int  # steps finished


def newest(root: Path) -> Checkpoint | None:
    """The newest checkpoint, read through and whole; None if there is none yet.

    Raises:
        InfrastructureError: it is damaged. The newest one that is whole is named, and used only on request.
    """
    found = every(root)
    if not found:
        return None
    damage = damage_of(found[-1])
    if not damage:
        return found[-1]
    whole = next((checkpoint for checkpoint in reversed(found[:-1]) if not damage_of(checkpoint)), None)
    remedy = (
        f"to go on from the one before it: --resume {whole.folder}"
        if whole
        else "no older one is whole: start the run anew"
    )
    raise InfrastructureError(f"the checkpoint {found[-1].folder} is damaged: {damage}; {remedy}")


def damage_of(checkpoint: Checkpoint) -> str:
    """What is wrong with a checkpoint's files, read to the end; empty if nothing is."""
    try:
        manifest = json.loads((checkpoint.folder / _MANIFEST).read_text(encoding="utf-8"))
        for name, listed in manifest["files"].items():
            path = checkpoint.folder / name
            num_bytes = path.stat().st_size
            if num_bytes != listed["num_bytes"]:
                return f"{name} has {num_bytes} bytes instead of {listed['num_bytes']}"
            if _digest(path) != listed["sha256"]:
                return f"{name} has other contents than were written"
    except FileNotFoundError as error:
        return f"it has no {Path(error.filename).relative_to(checkpoint.folder)}"
    except OSError as error:
        return f"{error.filename} cannot be read ({error.strerror})"
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"{_MANIFEST} is no list of its files"
    return ""


def at(folder: Path) -> Checkpoint | None:
    """The checkpoint in a folder, whole; None if it is none. InfrastructureError when it is damaged."""
    match = _NAME.fullmatch(folder.name)
    if match is None or not folder.is_dir():
        return None
    checkpoint = Checkpoint(folder=folder, step=int(match[1]))
    if damage := damage_of(checkpoint):
        raise InfrastructureError(f"the checkpoint {folder} is damaged: {damage}; choose another one")
    return checkpoint


def go_back_to(chosen: Checkpoint) -> list[Path]:
    """Make a checkpoint its run's newest one: newer ones get names that nothing reads, which are returned."""
    root, left = chosen.folder.parent, []
    for checkpoint in every(root):
        if checkpoint.step > chosen.step:
            aside = root / f"left-{checkpoint.folder.name}"
            _remove_old(root, aside.name)
            left.append(checkpoint.folder.rename(aside))
    return left


def every(root: Path) -> list[Checkpoint]:
    """The checkpoints in a folder, oldest first; they may be damaged."""
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
        for left in (*root.glob(".partial-*"), *root.glob(".removed-*")):  # by a run that was killed
            shutil.rmtree(left)
        partial.mkdir(parents=True)
        policy.save(partial)
        torch.save(optimizer.state_dict(), partial / "optimizer.pt")
        torch.save(state or {}, partial / "state.pt")
        _write_manifest(partial, step)
        for path in (*partial.rglob("*"), partial):
            _sync(path)
        _remove_old(root, target.name)
        partial.rename(target)
        _sync(root)
    except (OSError, RuntimeError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise InfrastructureError(f"cannot write the checkpoint {target}: {error}; is the disk full?") from error
    for old in every(root)[:-keep]:
        _remove_old(root, old.folder.name)
    return Checkpoint(folder=target, step=step)


def load_optimizer(checkpoint: Checkpoint, optimizer: torch.optim.Optimizer) -> None:
    """Put the saved optimiser state into `optimizer`, which keeps its own settings: a forced change reaches them."""
    settings = [
        {name: group[name] for name in group if name not in ("params", "lr")} for group in optimizer.param_groups
    ]
    optimizer.load_state_dict(torch.load(checkpoint.folder / "optimizer.pt", weights_only=True, map_location="cpu"))
    for group, own in zip(optimizer.param_groups, settings, strict=True):
        group.update(own)


def load_state(checkpoint: Checkpoint) -> dict[str, Any]:
    """What was given to `save` as `state`. Tensors are read from disk when they are used."""
    return torch.load(checkpoint.folder / "state.pt", weights_only=True, map_location="cpu", mmap=True)


def _write_manifest(folder: Path, step: int) -> None:
    files = {
        str(path.relative_to(folder)): {"num_bytes": path.stat().st_size, "sha256": _digest(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    (folder / _MANIFEST).write_text(json.dumps({"step": step, "files": files}, indent=2) + "\n", encoding="utf-8")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove_old(root: Path, name: str) -> None:
    """Remove a checkpoint: it loses its name first, so that a kill leaves no half one."""
    if (root / name).exists():
        doomed = root / f".removed-{name}"
        (root / name).rename(doomed)
        shutil.rmtree(doomed)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
