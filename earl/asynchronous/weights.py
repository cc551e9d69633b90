"""Published weights: one safetensors file a policy version, which appears whole by a rename.

What is published is what is trained; everything else of the model the workers read from where training began. The
tensors are the fp32 masters, so that a worker computes what the trainer would.
"""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from toolchain.errors import InfrastructureError

Tensors = dict[str, torch.Tensor]


def trained_tensors(model: PreTrainedModel) -> Tensors:
    """The parameters that training changes, by name; tied ones once."""
    return {name: tensor.detach() for name, tensor in model.named_parameters() if tensor.requires_grad}


def publish(folder: Path, version: int, tensors: Tensors) -> None:
    """Write a version. InfrastructureError when the disk refuses."""
    partial = folder / f".{_name(version)}"
    try:
        save_file({name: tensor.cpu().contiguous() for name, tensor in tensors.items()}, partial)
        partial.rename(folder / _name(version))
    except (OSError, SafetensorError) as error:
        raise InfrastructureError(f"cannot publish weights in {folder}: {error}; is the disk full?") from error


def versions(folder: Path) -> list[int]:
    """The versions there are, oldest first."""
    return sorted(int(path.stem) for path in folder.glob("[0-9]*.safetensors"))


def read(folder: Path, version: int) -> Tensors:
    """The tensors of a version. InfrastructureError when it is not there."""
    try:
        return load_file(folder / _name(version))
    except (OSError, SafetensorError) as error:
        raise InfrastructureError(f"cannot read the weights of version {version} in {folder}: {error}") from error


@torch.no_grad()
def load(model: PreTrainedModel, tensors: Tensors) -> None:
    """Put published tensors into a worker's model."""
    mine = trained_tensors(model)
    if mine.keys() != tensors.keys():
        raise InfrastructureError(
            f"published weights are of another model: they differ in {sorted(mine.keys() ^ tensors.keys())[:3]}"
        )
    for name, tensor in mine.items():
        tensor.copy_(tensors[name])


def prune(folder: Path, oldest: int) -> None:
    """Remove the versions before `oldest`."""
    for version in versions(folder):
        if version < oldest:
            (folder / _name(version)).unlink(missing_ok=True)


def _name(version: int) -> str:
    return f"{version:08d}.safetensors"
