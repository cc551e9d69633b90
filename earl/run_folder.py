"""The folder of a run: resolved config, versions, metrics, completions, checkpoints. One layout for every command."""

import errno
import json
import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import tomli_w

from earl.config import Config, load_config
from hdl_bench.text_files import write_whole
from toolchain.errors import InfrastructureError, UsageError

_PACKAGES = ("earl-rtl", "torch", "transformers", "peft", "pyslang", "numpy")


class RunFolder:
    """Paths and small files of one run. Writes are atomic: a temporary file, fsync, rename."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, config: Config, *, default_name: str) -> "RunFolder":
        """A new folder `<run.dir>/<name>`; an unnamed run gets the first free number.

        Raises:
            UsageError: `run.name` is taken.
            InfrastructureError: the folder cannot be written.
        """
        root = Path(config.run.dir)
        names = [config.run.name] if config.run.name else [f"{default_name}-{n:03d}" for n in range(1, 1000)]
        partial = root / f".new-{os.getpid()}"  # a kill leaves no folder that is taken and cannot be resumed
        try:
            partial.mkdir(parents=True)
            cls(partial).write_config(config)
            cls(partial).write_json("versions.json", package_versions())
            for name in names:
                if _renamed(partial, root / name):
                    return cls(root / name)
        except OSError as error:
            raise InfrastructureError(
                f"cannot write the run folder under {root}: {error.strerror}; set run.dir"
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        raise UsageError(f"the run folder {root / names[0]} exists; choose another run.name, or `--resume` it")

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """An existing run. UsageError if `path` is none."""
        if not (path / "config.toml").is_file():
            raise UsageError(f"{path} is no run folder: it has no config.toml; give the folder that a run printed")
        return cls(path)

    def config(self) -> Config:
        """The resolved config that the run was started with, or last resumed with."""
        return load_config(self.path / "config.toml")

    def write_config(self, config: Config) -> None:
        """Keep the resolved config."""
        self.write_text("config.toml", tomli_w.dumps(config.model_dump(mode="json")))

    @property
    def metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def completions_folder(self) -> Path:
        return self.path / "completions"

    def completions_path(self, step: int, suffix: str = "jsonl") -> Path:
        return self.completions_folder / f"step_{step:06d}.{suffix}"

    def write_json(self, name: str, value: Any) -> Path:
        return write_atomically(self.path / name, value)

    def write_text(self, name: str, text: str) -> Path:
        """Write a file of the run atomically. InfrastructureError when the disk refuses."""
        write_whole(self.path / name, text)
        return self.path / name


def _renamed(folder: Path, target: Path) -> bool:
    """Give a folder its name; False when that is taken by anything but an empty folder."""
    try:
        folder.rename(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            return False
        raise
    return True


def write_atomically(path: Path, document: Any) -> Path:
    """Write a JSON document whole or not at all. InfrastructureError when the disk refuses."""
    write_whole(path, json.dumps(document, indent=2) + "\n")
    return path


def package_versions() -> dict[str, str]:
    """Versions of what a result depends on."""
    versions = {"python": platform.python_version(), "machine": platform.machine()}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return versions
