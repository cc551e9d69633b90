"""How much a run's checkpoints take on disk."""

from dataclasses import dataclass
from pathlib import Path

from earl.config import Config
from earl.control.reference import reference_params
from earl.optimizers import OPTIMIZERS
from earl.params import NoParams
from earl.plan.machine import free_disk_bytes
from earl.plan.model_shape import ModelShape

_FP32 = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Disk:
    """Bytes. Completions, verdicts and metrics come on top: a few kB a completion."""

    checkpoint: int
    num_checkpoints: int  # at once: those that are kept, and the one being written
    published: int  # weights for rollout workers, all versions at once
    free: int

    @property
    def checkpoints(self) -> int:
        return self.checkpoint * self.num_checkpoints

    @property
    def total(self) -> int:
        return self.checkpoints + self.published


def estimate_disk(config: Config, shape: ModelShape) -> Disk:
    """A checkpoint holds the weights, or the adapters, in float32; the optimiser's state; a moving reference; and the
    older weights that groups under way are sampled from, on the fixed schedule."""
    weights = _FP32 * shape.num_trainable
    rollout = config.rollout
    num_older = min(rollout.max_staleness, config.train.num_steps - 1)
    num_published = num_older + 2 if rollout.num_workers else 0  # the newest, and one before the oldest is removed
    moves = config.kl.beta > 0 and not isinstance(reference_params(config.kl), NoParams)
    train = config.train
    num_written = -(-train.num_steps // train.checkpoint_every) if train.checkpoint_every else 1
    return Disk(
        checkpoint=weights * (1 + moves + (num_older if rollout.schedule == "fixed" else 0))
        + round(OPTIMIZERS[config.optimizer.name].state_bytes * shape.num_trainable),
        num_checkpoints=min(train.keep_checkpoints + 1, num_written),
        published=weights * num_published,
        free=free_disk_bytes(Path(config.run.dir).absolute()),
    )
