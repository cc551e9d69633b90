"""Losses of supervised training: by hand, and what is left of them when they are off."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from earl.config import SftLossConfig
from earl.ops import TokenStats, token_logprob_entropy_ref
from earl.sft_loss import SFT_LOSSES, make_sft_loss
from toolchain.errors import UsageError

LENGTHS = (4, 1, 3)


def _loss(name, **params):
    return make_sft_loss(SftLossConfig(name=name, params=params))


def _stats(logprobs, entropies):
    logprob = torch.tensor(logprobs, requires_grad=True)
    entropy = torch.tensor(entropies, requires_grad=True)
    return TokenStats(logprob, entropy, torch.zeros(len(logprobs)))


# d = -logprob - c * entropy at c = 1:      1.5   -0.5  2.0   0.1 |  0.2 | 0.5   0.5   -1.0
STATS = ([-2.0, -0.5, -2.5, -0.1, -0.7, -1.0, -0.5, -0.2], [0.5, 1.0, 0.5, 0.0, 0.5, 0.5, 0.0, 1.2])


def test_light_if_trains_the_top_share_of_each_completion_by_hand():
    stats = _stats(*STATS)
    # ceil(0.5 * 4) = 2 of the first, 1 of the second, ceil(0.5 * 3) = 2 of the third (a tie at 0.5 takes both)
    loss = _loss("light_if", fraction=0.5, entropy_weight=1.0)
    values = loss(stats, LENGTHS)
    assert values.tolist() == pytest.approx([2.0, 0.0, 2.5, 0.0, 0.7, 1.0, 0.5, 0.0])
    assert [loss.num_trained(length) for length in LENGTHS] == [2, 1, 2]
    values.sum().backward()
    assert stats.logprob.grad.tolist() == [-1, 0, -1, 0, -1, -1, -1, 0]
    assert stats.entropy.grad is None


def test_light_if_breaks_ties_to_the_earlier_token_and_weighs_entropy():
    stats = _stats(*STATS)
    assert _loss("light_if", fraction=0.3)(stats, LENGTHS).tolist() == pytest.approx([2, 0, 2.5, 0, 0.7, 1, 0, 0])
    # c = 0: the highest cross-entropies. c = 10: the surest tokens, 4 and 7, whatever their loss.
    at = {c: _loss("light_if", fraction=0.25, entropy_weight=c)(stats, LENGTHS).tolist() for c in (0.0, 10.0)}
    assert at[0.0] == pytest.approx([0, 0, 2.5, 0, 0.7, 1, 0, 0])
    assert at[10.0] == pytest.approx([0, 0, 0, 0.1, 0.7, 0, 0.5, 0])


def test_the_entropy_bonus_by_hand():
    stats = _stats(*STATS)
    values = _loss("entropy_bonus", coefficient=0.2)(stats, LENGTHS)
    assert values.tolist() == pytest.approx([1.9, 0.3, 2.4, 0.1, 0.6, 0.9, 0.5, -0.04])
    values.sum().backward()
    assert stats.logprob.grad.tolist() == [-1.0] * 8
    assert stats.entropy.grad.tolist() == pytest.approx([-0.2] * 8)


def test_the_gradient_of_the_entropy_bonus_on_two_tokens_by_hand():
    """Two tokens, logits (z, 0), target the first: d/dz of -log p - c H is -(1 - p) + c p (1 - p) z."""
    z, coefficient = 1.5, 0.4
    logits = torch.tensor([[z, 0.0]], requires_grad=True)
    stats = token_logprob_entropy_ref(logits, torch.tensor([0]), 1.0)
    _loss("entropy_bonus", coefficient=coefficient)(stats, (1,)).sum().backward()
    p = 1 / (1 + math.exp(-z))
    assert float(logits.grad[0, 0]) == pytest.approx(-(1 - p) + coefficient * p * (1 - p) * z, rel=1e-5)


@pytest.mark.parametrize(("name", "off"), [("light_if", {"fraction": 1.0}), ("entropy_bonus", {"coefficient": 0.0})])
def test_a_loss_that_is_off_is_cross_entropy_to_the_bit(name, off):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(8, 50, generator=generator) * 3
    targets = torch.randint(0, 50, (8,), generator=generator)
    results = []
    for loss in (_loss(name, **off), _loss("cross_entropy")):
        leaf = logits.clone().requires_grad_()
        values = loss(token_logprob_entropy_ref(leaf, targets, 1.0), LENGTHS)
        (values.sum() / sum(map(loss.num_trained, LENGTHS))).backward()
        results.append((values.detach(), leaf.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    assert torch.allclose(results[1][0], torch.nn.functional.cross_entropy(logits, targets, reduction="none"))


@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    fraction=st.floats(0.01, 1.0),
    weight=st.floats(0.0, 5.0),
    seed=st.integers(0, 1000),
)
def test_light_if_trains_as_many_tokens_as_it_says_and_the_most_surprising(lengths, fraction, weight, seed):
    generator = torch.Generator().manual_seed(seed)
    size = sum(lengths)
    stats = TokenStats(
        -torch.rand(size, generator=generator) - 0.01, torch.rand(size, generator=generator), torch.zeros(size)
    )
    loss = _loss("light_if", fraction=fraction, entropy_weight=weight)
    trains = loss(stats, lengths) > 0
    surprise = -(stats.logprob + weight * stats.entropy)
    for part, values, length in zip(trains.split(lengths), surprise.split(lengths), lengths, strict=True):
        assert int(part.sum()) == loss.num_trained(length)
        if not part.all():
            assert values[part].min() >= values[~part].max()


@pytest.mark.parametrize("name", SFT_LOSSES)
def test_bad_names_and_parameters_are_told(name):
    with pytest.raises(UsageError, match=rf"sft\.loss\.params\.fractoin.*{name} has: "):
        _loss(name, fractoin=0.5)
    with pytest.raises(UsageError, match=r"unknown sft\.loss\.name 'gem'; known: cross_entropy, entropy"):
        _loss("gem")
    with pytest.raises(UsageError, match=r"sft\.loss\.params\.fraction"):
        _loss("light_if", fraction=0.0)
