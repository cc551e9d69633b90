"""pass@k against enumeration, and intervals that behave."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hdl_bench.statistics import bootstrap_interval, pass_at_k


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_subsets_with_a_pass(counts):
    num_samples, num_passed, k = counts
    samples = [True] * num_passed + [False] * (num_samples - num_passed)
    subsets = list(itertools.combinations(samples, k))
    assert pass_at_k(num_samples, num_passed, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


def test_pass_at_k_by_hand():
    assert pass_at_k(20, 5, 1) == pytest.approx(0.25)
    assert pass_at_k(4, 2, 2) == pytest.approx(5 / 6)


@pytest.mark.parametrize("counts", [(4, 5, 1), (4, -1, 1), (4, 2, 5), (4, 2, 0)])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(ValueError, match="pass@"):
        pass_at_k(*counts)


def test_interval_holds_the_mean_repeats_and_narrows_with_problems():
    few, many = [0.0, 1.0] * 5, [0.0, 1.0] * 200
    low, high = bootstrap_interval(few)
    assert low < 0.5 < high
    assert bootstrap_interval(few) == (low, high)
    narrow_low, narrow_high = bootstrap_interval(many)
    assert narrow_high - narrow_low < (high - low) / 3
    assert narrow_high - narrow_low == pytest.approx(2 * 1.96 * 0.5 / 20, rel=0.1)  # normal approximation, n = 400
    assert bootstrap_interval([0.3]) == (pytest.approx(0.3), pytest.approx(0.3))
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_interval([])
