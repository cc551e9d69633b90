"""The advantages, by hand and by what must not change them."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from packed import packed_batch

from earl.advantage import ADVANTAGES
from earl.advantage.groups import group_means, group_stds
from earl.config import AdvantageConfig

CONFIG = AdvantageConfig(min_std=0.02)
RELATIVE = ("grpo", "dr_grpo", "rloo")


def _advantages(name, groups, lengths=None):
    """Advantages as a list a group, from rewards as a list a group."""
    rewards = torch.tensor([reward for group in groups for reward in group], dtype=torch.float64)
    ids = [number for number, group in enumerate(groups) for _ in group]
    batch = packed_batch(lengths or [1] * len(ids), group_ids=ids)
    return ADVANTAGES[name](rewards, batch, CONFIG).split([len(group) for group in groups])


def test_group_relative_advantages_by_hand():
    groups = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0]]
    grpo, dr_grpo, rloo = (_advantages(name, groups) for name in RELATIVE)
    assert grpo[0].tolist() == pytest.approx([1.5, -0.5, -0.5, -0.5], rel=1e-4)  # std 0.5
    assert grpo[1].tolist() == pytest.approx([-(0.5**0.5), 0.5**0.5], rel=1e-4)
    assert dr_grpo[0].tolist() == [0.75, -0.25, -0.25, -0.25]
    assert rloo[0].tolist() == pytest.approx([1.0, -1 / 3, -1 / 3, -1 / 3])
    assert rloo[1].tolist() == [-1.0, 1.0]


def test_batch_whitening_by_hand():
    # Tokens 1 1 1 | 0 | 0 | 0 0 0: mean 3/8, variance 15/64.
    rewards, lengths = [[1.0, 0.0], [0.0, 0.0]], [3, 1, 1, 3]
    values = torch.cat(_advantages("reinforce_pp", rewards, lengths))
    deviation = 15**0.5 / 8
    assert values.tolist() == pytest.approx([5 / 8 / deviation, *[-3 / 8 / deviation] * 3], rel=1e-4)
    # Centred first: 0.5 0.5 0.5 | -0.5 | 0 | 0 0 0: mean 1/8, variance 7/64.
    values = torch.cat(_advantages("reinforce_pp_baseline", rewards, lengths))
    deviation = 7**0.5 / 8
    assert values.tolist() == pytest.approx([x / 8 / deviation for x in (3, -5, -1, -1)], rel=1e-4)


rewards_of_groups = st.lists(st.lists(st.floats(0, 1), min_size=2, max_size=6), min_size=1, max_size=4)


@given(rewards_of_groups, st.floats(-3, 3), st.sampled_from(RELATIVE))
def test_relative_advantages_sum_to_zero_and_ignore_a_shift_of_each_group(groups, shift, name):
    shifted = [[reward + shift * (number + 1) for reward in group] for number, group in enumerate(groups)]
    for before, after, group in zip(_advantages(name, groups), _advantages(name, shifted), groups, strict=True):
        assert before.sum().item() == pytest.approx(0.0, abs=1e-6)
        if abs(torch.tensor(group, dtype=torch.float64).std() - CONFIG.min_std) > 1e-6:
            torch.testing.assert_close(before, after, atol=1e-6, rtol=1e-6)


@given(rewards_of_groups, st.floats(1, 10))
def test_grpo_ignores_scale_and_the_others_follow_it(groups, scale):
    groups = [[0.0, 1.0, *group] for group in groups]
    scaled = [[reward * scale for reward in group] for group in groups]
    for name, factor in (("grpo", 1.0), ("dr_grpo", scale), ("rloo", scale)):
        for before, after in zip(_advantages(name, groups), _advantages(name, scaled), strict=True):
            torch.testing.assert_close(before * factor, after, atol=1e-4, rtol=1e-4)


@given(rewards_of_groups, st.data())
def test_whitening_gives_mean_zero_and_deviation_one_over_tokens(groups, data):
    groups = [[0.0, 1.0], *groups]
    num = sum(map(len, groups))
    lengths = data.draw(st.lists(st.integers(1, 9), min_size=num, max_size=num))
    for name in ("reinforce_pp", "reinforce_pp_baseline"):
        tokens = torch.cat(_advantages(name, groups, lengths)).repeat_interleave(torch.tensor(lengths))
        assert tokens.mean().item() == pytest.approx(0.0, abs=1e-6)
        assert tokens.std(unbiased=False).item() == pytest.approx(1.0, rel=1e-3)


def test_a_group_without_variance_has_exactly_no_relative_advantage():
    groups = [[0.1, 0.1, 0.1], [0.20, 0.21, 0.20], [0.0, 1.0, 0.0]]
    for name in RELATIVE:
        first, second, third = _advantages(name, groups)
        assert [*first.tolist(), *second.tolist()] == [0.0] * 6
        assert third.abs().min() > 0
    assert torch.cat(_advantages("reinforce_pp", [[0.5, 0.5], [0.5, 0.5]])).tolist() == [0.0] * 4


def test_means_and_deviations_are_those_of_each_group_alone():
    values, ids = torch.tensor([1.0, 3.0, 5.0, 0.0, 8.0, 7.0], dtype=torch.float64), torch.tensor([0, 0, 0, 1, 1, 2])
    assert group_means(values, ids).tolist() == [3, 3, 3, 4, 4, 7]
    assert group_stds(values, ids).tolist() == pytest.approx([2, 2, 2, 32**0.5, 32**0.5, 0])
