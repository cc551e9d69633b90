"""Means and deviations within groups: what the group-relative advantages share."""

import torch


def group_sizes(group_ids_B: torch.Tensor) -> torch.Tensor:
    """The size of each response's own group (B,), fp64."""
    return torch.bincount(group_ids_B).double()[group_ids_B]


def group_means(values_B: torch.Tensor, group_ids_B: torch.Tensor) -> torch.Tensor:
    """The mean of each response's own group (B,), fp64."""
    sums = torch.zeros(int(group_ids_B.max()) + 1, dtype=torch.float64).index_add(0, group_ids_B, values_B)
    return sums[group_ids_B] / group_sizes(group_ids_B)


def group_stds(values_B: torch.Tensor, group_ids_B: torch.Tensor) -> torch.Tensor:
    """The unbiased standard deviation of each response's own group (B,), fp64; 0 for a group of one."""
    squares = (values_B - group_means(values_B, group_ids_B)).square()
    sizes = group_sizes(group_ids_B)
    return (group_means(squares, group_ids_B) * sizes / (sizes - 1).clamp(min=1)).sqrt()


def deviations(rewards_B: torch.Tensor, group_ids_B: torch.Tensor, min_std: float) -> torch.Tensor:
    """r - group mean (B,), fp64; exactly 0 in a group whose rewards deviate less than `min_std`."""
    centred = rewards_B - group_means(rewards_B, group_ids_B)
    return centred.masked_fill(group_stds(rewards_B, group_ids_B) < min_std, 0.0)
