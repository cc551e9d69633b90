"""GRPO's advantage: rewards standardised within the group (DeepSeekMath, arXiv 2402.03300)."""

import torch

_EPSILON = 1e-6


def grpo(rewards_G: torch.Tensor) -> torch.Tensor:
    """(r - mean) / (std + eps), std unbiased. Invariant to shifting and, but for eps, to scaling the rewards."""
    return (rewards_G - rewards_G.mean()) / (rewards_G.std() + _EPSILON)
