"""The kinds of runs that `kill_runs` kills, and what each promises."""

from dataclasses import dataclass, field
from typing import Any

from kill_child import FAKE_ADDRESS

from earl.config import Config, config_from_dict

NUM_STEPS = 8
_OWN_PHASES = ("resume", "sample", "judge", "train", "log", "checkpoint")
_PHASES_WITH_WORKERS = ("resume", "wait", "train", "log", "checkpoint")


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A kind of run. `share` is of a hundred kills."""

    name: str
    share: int
    rollout: dict[str, Any] = field(default_factory=dict)
    is_simulated: bool = False  # by the real farm
    is_repeatable: bool = True  # ends with the same bytes each time
    is_as_alone: bool = False  # ends with the bytes of the first kind

    @property
    def has_workers(self) -> bool:
        return bool(self.rollout)

    @property
    def phases(self) -> tuple[str, ...]:
        """Of the trainer: those in which it is killed."""
        return _PHASES_WITH_WORKERS if self.has_workers else _OWN_PHASES


KINDS = (
    Kind(name="alone", share=72),
    Kind(name="in-step", share=6, rollout={"num_workers": 1}, is_as_alone=True),
    Kind(name="behind", share=6, rollout={"num_workers": 2, "max_staleness": 1}),
    Kind(
        name="free",
        share=6,
        rollout={"num_workers": 2, "max_staleness": 1, "schedule": "free"},
        is_repeatable=False,
    ),
    Kind(name="simulated", share=10, rollout={"num_workers": 1}, is_simulated=True),
)


def share_out(kinds: tuple[Kind, ...], num_kills: int) -> list[int]:
    """Kills by kind: the shares of each in whole numbers, the first takes what is left, each has one at least."""
    others = [max(1, num_kills * kind.share // 100) for kind in kinds[1:]]
    return [max(1, num_kills - sum(others)), *others]


def run_config(kind: Kind) -> Config:
    """A run that carries on everything there is: an adaptive order, a moving reference, rounds, mini-batches, signs."""
    judge = {"isolation": "rlimits"} if kind.is_simulated else {"address": FAKE_ADDRESS}
    return config_from_dict(
        {
            "run": {"dir": "runs", "name": "run", "num_threads": 1},
            "model": {"path": "../policy", "dtype": "float32"},
            "problems": {"order": "adaptive"},
            "sampling": {"max_tokens": 12},
            "groups": {"filter": "variance", "max_rounds": 1},
            "kl": {"beta": 0.01, "reference": "ema", "params": {"decay": 0.5}},
            "log": {"signs": {"first_steps": 3, "recheck_every": 2}},
            "rollout": kind.rollout,
            "verifier": judge,
            "train": {
                "num_steps": NUM_STEPS,
                "num_problems": 2,
                "num_minibatches": 2,
                "group_size": 4,
                "learning_rate": 1e-3,
                "checkpoint_every": 2,
            },
        },
        origin="kill_runs",
    )
