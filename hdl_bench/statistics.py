"""pass@k and its uncertainty: the unbiased estimator, and bootstrap intervals over problems."""

import math
from collections.abc import Sequence

import numpy as np

_NUM_RESAMPLES = 10_000


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
    if not values_P:
        raise ValueError("an interval needs at least one problem")
    values = np.asarray(values_P, dtype=np.float64)
    draws = np.random.default_rng(seed).integers(0, len(values), size=(_NUM_RESAMPLES, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)
