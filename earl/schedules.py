"""Learning-rate schedules: a linear warm-up, then a shape over what is left of the run."""

import math
from collections.abc import Callable

from toolchain.errors import UsageError

# name -> factor at a share of the way from the warm-up's end (0) to the run's end (1)
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda share: 1.0,
    "linear": lambda share: 1.0 - share,
    "cosine": lambda share: 0.5 * (1.0 + math.cos(math.pi * share)),
}


def factor(name: str, step: int, num_steps: int, num_warmup: int) -> float:
    """What the learning rate is multiplied by at `step` (from 1) of `num_steps`; the last step is still above 0.

    The warm-up rises linearly and reaches 1 at step `num_warmup`, or at the first step if that is 0.
    """
    if step < num_warmup:
        return step / num_warmup
    start = max(num_warmup, 1)
    return SCHEDULES[name]((step - start) / (num_steps - start + 1))


def check_schedule(name: str, *, key: str) -> None:
    """UsageError for a schedule that does not exist."""
    if name not in SCHEDULES:
        raise UsageError(f"unknown {key} {name!r}; known: {', '.join(SCHEDULES)}")
