"""Checks the methods that a config names, before anything is written or loaded."""

from earl.advantage import ADVANTAGES
from earl.config import Config
from earl.gate import make_gate
from earl.loss import LOSSES
from toolchain.errors import UsageError


def check_methods(config: Config) -> None:
    """UsageError for an advantage, gate, gate parameter or loss that does not exist."""
    make_gate(config.gate.name, config.gate.params)
    for key, name, known in (
        ("advantage.name", config.advantage.name, ADVANTAGES),
        ("loss.name", config.loss.name, LOSSES),
    ):
        if name not in known:
            raise UsageError(f"unknown {key} {name!r}; known: {', '.join(sorted(known))}")
