"""Every global random state in one place: seeded when a run starts, carried on by its checkpoints.

Sampling, orders and draws have generators of their own, made from seed and step. What is left is whatever a library
draws: dropout, an adapter's first weights.
"""

import random
from typing import Any

import numpy
import torch


def seed_everything(seed: int) -> None:
    """Seed the generators of Python, numpy and torch (all devices)."""
    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    torch.manual_seed(seed)


class RandomState:
    """The generators of Python, numpy and torch as state of a run."""

    def state_dict(self) -> dict[str, Any]:
        _, keys, position, has_gauss, cached = numpy.random.get_state()
        return {
            "python": random.getstate(),
            "numpy": (keys.tolist(), position, has_gauss, cached),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved state. Devices beyond those that were saved keep theirs."""
        random.setstate(state["python"])
        keys, position, has_gauss, cached = state["numpy"]
        numpy.random.set_state(("MT19937", numpy.array(keys, dtype=numpy.uint32), position, has_gauss, cached))
        torch.set_rng_state(state["torch"])
        for device, saved in zip(range(torch.cuda.device_count()), state["cuda"], strict=False):
            torch.cuda.set_rng_state(saved, device)
