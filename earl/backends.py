"""Metrics backends beside metrics.jsonl: TensorBoard, Weights & Biases, trackio. Each is an extra, imported when used.

A backend that is down never stops a run: what it lost is counted, and the first failure of each is told once.
"""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from earl.config import Config, LogConfig
from toolchain.errors import UsageError

_PROJECT = "earl-rtl"


class Backend(Protocol):
    """Where a step's numbers go."""

    def write(self, step: int, metrics: dict[str, float]) -> None: ...

    def close(self) -> None: ...


class TensorBoardBackend:
    """Event files in `<run>/tensorboard`, by tensorboardX; TensorBoard itself is needed only to look at them."""

    def __init__(self, config: Config, folder: Path, last_step: int) -> None:
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=last_step + 1 if last_step else None)

    def write(self, step: int, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class WandbBackend:
    """Weights & Biases: a run named as its folder; a resumed one continues it."""

    def __init__(self, config: Config, folder: Path, last_step: int) -> None:
        import wandb

        self._run = wandb.init(
            project=_PROJECT,
            name=folder.name,
            id=folder.name,
            dir=str(folder),
            config=config.model_dump(mode="json"),
            resume="allow",
        )

    def write(self, step: int, metrics: dict[str, float]) -> None:
        self._run.log(metrics, step=step)

    def close(self) -> None:
        self._run.finish()


class TrackioBackend:
    """trackio: local by default, its dashboard is `trackio show`."""

    def __init__(self, config: Config, folder: Path, last_step: int) -> None:
        import trackio

        self._trackio = trackio
        resume = "allow" if last_step else "never"
        trackio.init(project=_PROJECT, name=folder.name, config=config.model_dump(mode="json"), resume=resume)

    def write(self, step: int, metrics: dict[str, float]) -> None:
        self._trackio.log(metrics, step=step)

    def close(self) -> None:
        self._trackio.finish()


# name -> (what opens it, the module that it needs)
BACKENDS: dict[str, tuple[Callable[[Config, Path, int], Backend], str]] = {
    "tensorboard": (TensorBoardBackend, "tensorboardX"),
    "wandb": (WandbBackend, "wandb"),
    "trackio": (TrackioBackend, "trackio"),
}


def check_backends(config: LogConfig) -> None:
    """UsageError for a backend or a file format that does not exist, or whose package is not installed."""
    for name in config.backends:
        if name not in BACKENDS:
            raise UsageError(f"unknown log.backends {name!r}; known: {', '.join(sorted(BACKENDS))}")
        _refuse_missing(BACKENDS[name][1], f"log.backends = {name!r}", extra=name)
    if config.completions == "parquet":
        _refuse_missing("pyarrow", 'log.completions = "parquet"', extra="parquet")


def _refuse_missing(module: str, setting: str, *, extra: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise UsageError(f"{setting} needs the package {module}: pip install 'earl-rtl[{extra}]', or leave it out")


class Backends:
    """All backends of a run."""

    def __init__(self, config: Config, folder: Path, *, last_step: int, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._warned: set[str] = set()
        self._open: dict[str, Backend] = {}
        self.num_failures = 0
        for name in config.log.backends:
            backend = self._guard(name, lambda name=name: BACKENDS[name][0](config, folder, last_step))
            if backend is not None:
                self._open[name] = backend

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Send a step's numbers to every backend that could be opened."""
        for name, backend in self._open.items():
            self._guard(name, lambda backend=backend: backend.write(step, metrics))

    def close(self) -> None:
        for name, backend in self._open.items():
            self._guard(name, backend.close)

    def _guard(self, name: str, action: Callable[[], Any]) -> Any:
        """The boundary: other people's programs over the network may fail in any way, and training goes on."""
        try:
            return action()
        except Exception as error:
            self.num_failures += 1
            if name not in self._warned:
                self._warned.add(name)
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                self._warn(f"{name} takes no metrics ({reason}); training goes on, metrics.jsonl has them all")
            return None
