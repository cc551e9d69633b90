"""Checks the methods that a config names, before anything is written or loaded."""

from collections.abc import Callable, Iterable
from functools import partial

from earl.advantage import ADVANTAGES
from earl.backends import check_backends
from earl.config import Config
from earl.control.filters import make_filter
from earl.control.order import order_params
from earl.control.reference import check_reference
from earl.gate import make_gate
from earl.lora import check_lora
from earl.loss import LOSSES
from earl.optimizers import check_optimizer
from earl.schedules import check_schedule
from earl.sft_loss import make_sft_loss
from toolchain.errors import UsageError


def check_methods(config: Config) -> None:
    """UsageError for a method, or a method's parameter, that does not exist or cannot be used together."""
    for check in _checks(config):
        check()


def method_problems(config: Config) -> list[str]:
    """All that `check_methods` would refuse, where it stops at the first."""
    problems = []
    for check in _checks(config):
        try:
            check()
        except UsageError as error:
            problems.append(str(error))
    return problems


def _checks(config: Config) -> list[Callable[[], object]]:
    return [
        partial(make_gate, config.gate.name, config.gate.params),
        partial(make_filter, config.groups),
        partial(order_params, config.problems.order, config.problems.params),
        partial(check_reference, config),
        partial(make_sft_loss, config.sft.loss),
        partial(check_backends, config.log),
        partial(check_lora, config.lora),
        partial(check_optimizer, config.optimizer),
        partial(check_schedule, config.optimizer.schedule, key="optimizer.schedule"),
        partial(_known, "advantage.name", config.advantage.name, ADVANTAGES),
        partial(_known, "loss.name", config.loss.name, LOSSES),
    ]


def _known(key: str, name: str, known: Iterable[str]) -> None:
    if name not in known:
        raise UsageError(f"unknown {key} {name!r}; known: {', '.join(sorted(known))}")
