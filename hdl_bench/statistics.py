"""pass@k and its uncertainty: the unbiased estimator, and bootstrap intervals over problems."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

_NUM_RESAMPLES = 10_000
_DRAWS_AT_ONCE = 2_000_000  # 16 MB
KS = (1, 5, 10, 20, 50, 100, 200)


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A mean over problems with its 95 % interval."""

    value: float
    low: float
    high: float
    num_problems: int


def pass_at_k(num_samples: int, num_passed: int, k: int) -> float:
    """Chance that one of k samples passes, from n samples of which c passed: 1 - C(n-c, k) / C(n, k), in product form.

    Unbiased for any n >= k (Chen et al., arXiv 2107.03374).

    Raises:
        ValueError: k > n, or counts that make no sense.
    """
    if not 0 <= num_passed <= num_samples or not 1 <= k <= num_samples:
        raise ValueError(f"pass@{k} needs 0 <= passed <= n, 1 <= k <= n; got {num_passed} passed of n = {num_samples}")
    if num_samples - num_passed < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(num_samples - num_passed + 1, num_samples + 1))


def bootstrap_interval(values_P: Sequence[float], *, seed: int = 0) -> tuple[float, float]:
    """95 % percentile interval of the mean, problems resampled with replacement. A single value is its own interval.

    For a paired comparison pass the differences: a problem is then resampled with both its sides.
    """
    low, high = np.quantile(resampled_means(values_P, seed=seed), [0.025, 0.975])
    return float(low), float(high)


def resampled_means(values_P: Sequence[float], *, seed: int = 0) -> np.ndarray:
    """The means of bootstrap resamples. Raises ValueError for no value."""
    if not values_P:
        raise ValueError("an interval needs at least one problem")
    values = np.asarray(values_P, dtype=np.float64)
    return np.concatenate([values[draws].mean(axis=1) for draws in _draws(len(values), seed)])


def _draws(num_values: int, seed: int) -> Iterator[np.ndarray]:
    """Indices of the resamples, in pieces that fit into memory; the pieces make no difference to the numbers."""
    generator = np.random.default_rng(seed)
    rows_at_once = max(1, _DRAWS_AT_ONCE // num_values)
    for start in range(0, _NUM_RESAMPLES, rows_at_once):
        num_rows = min(rows_at_once, _NUM_RESAMPLES - start)
        yield generator.integers(0, num_values, size=(num_rows, num_values))


def estimate(values_P: Sequence[float]) -> Estimate:
    """The mean of one value a problem, with its interval. Raises ValueError for none."""
    low, high = bootstrap_interval(values_P)
    return Estimate(value=math.fsum(values_P) / len(values_P), low=low, high=high, num_problems=len(values_P))
