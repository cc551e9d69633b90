"""How a long job hears that it should stop, and tells how far it is."""

from collections.abc import Callable
from dataclasses import dataclass


class StepInterrupted(Exception):
    """The run was asked to stop; nothing of this step has touched the weights."""


def _never() -> bool:
    return False


def _unread(text: str) -> None:
    return None


def _unheard(step: int, num_steps: int, metrics: dict[str, float]) -> None:
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Hooks:
    """`should_stop` is asked between stages; `on_step` hears the step, the number of steps and the step's metrics;
    `warn` is told a line for the person who watches."""

    should_stop: Callable[[], bool] = _never
    on_step: Callable[[int, int, dict[str, float]], None] = _unheard
    warn: Callable[[str], None] = _unread
