"""Dr. GRPO's advantage: centred, not scaled, so that easy and hard problems weigh alike (arXiv 2503.20783)."""

import torch


def dr_grpo(rewards_G: torch.Tensor) -> torch.Tensor:
    """r - mean."""
    return rewards_G - rewards_G.mean()
