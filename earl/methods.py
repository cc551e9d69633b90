"""Checks the methods that a config names, before anything is written or loaded."""

from earl.advantage import ADVANTAGES
from earl.backends import check_backends
from earl.config import Config
from earl.control.filters import make_filter
from earl.control.order import order_params
from earl.control.reference import reference_params
from earl.gate import make_gate
from earl.loss import LOSSES
from earl.sft_loss import make_sft_loss
from toolchain.errors import UsageError


def check_methods(config: Config) -> None:
    """UsageError for a method, or a method's parameter, that does not exist or cannot be used together."""
    make_gate(config.gate.name, config.gate.params)
    make_filter(config.groups)
    order_params(config.problems.order, config.problems.params)
    reference_params(config.kl)
    make_sft_loss(config.sft.loss)
    check_backends(config.log)
    for key, name, known in (
        ("advantage.name", config.advantage.name, ADVANTAGES),
        ("loss.name", config.loss.name, LOSSES),
    ):
        if name not in known:
            raise UsageError(f"unknown {key} {name!r}; known: {', '.join(sorted(known))}")
