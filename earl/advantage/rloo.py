"""RLOO: each rollout against the mean of the others (arXiv 2402.14740)."""

import torch


def rloo(rewards_G: torch.Tensor) -> torch.Tensor:
    """r - mean of the others, which is G / (G - 1) times (r - mean)."""
    size = rewards_G.numel()
    return (rewards_G - rewards_G.mean()) * (size / (size - 1))
