"""The surrogate, the KL estimators and the objective, with numbers computed by hand."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from earl.config import KlConfig, LossConfig
from earl.loss.kl import k1, k3
from earl.loss.policy import count, kl_weights, policy_loss, surrogate_weights
from earl.loss.ppo_clip import ppo_clip
from earl.types import TokenBatch


def _batch(advantages, lengths, *, logprobs=None, reference=None) -> TokenBatch:
    size = sum(lengths)
    return TokenBatch(
        row_offsets=torch.tensor([0, *lengths]).cumsum(0),
        group_ids=torch.zeros(len(lengths), dtype=torch.int64),
        token_ids=torch.zeros(size, dtype=torch.int64),
        logprobs=torch.tensor(logprobs) if logprobs else torch.full((size,), -1.0),
        entropies=torch.zeros(size),
        advantages=torch.tensor(advantages),
        token_classes=torch.zeros(size, dtype=torch.int64),
        reference_logprobs=torch.tensor(reference) if reference else None,
    )


def _loss(batch, gate, logprobs, loss=LossConfig(), kl=KlConfig(), rows=None):  # noqa: B008
    counts = count(batch, gate, max_tokens=10)
    weights = (surrogate_weights(batch, gate, counts, loss.denominator), kl_weights(batch, gate, counts, kl))
    rows = torch.arange(batch.num_tokens) if rows is None else rows
    return policy_loss(logprobs[rows], rows, batch, weights, loss)


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected", "is_clipped"),
    [
        (1.0, 2.0, -2.0, False),
        (1.5, 2.0, -2.56, True),  # clipped at 1.28
        (0.5, 2.0, -1.0, False),  # a good token that became unlikely is pulled back
        (1.5, -2.0, 3.0, False),
        (0.5, -2.0, 1.6, True),  # clipped at 0.8
    ],
)
def test_clip_higher_by_hand(ratio, advantage, expected, is_clipped):
    loss, clipped = ppo_clip(torch.tensor([ratio]), torch.tensor([advantage]), LossConfig())
    assert loss.item() == pytest.approx(expected)
    assert clipped.item() is is_clipped


def test_dual_clip_bounds_the_loss_of_negative_advantages_only():
    config = LossConfig(dual_clip=3.0)
    loss, clipped = ppo_clip(torch.tensor([10.0, 10.0]), torch.tensor([-2.0, 2.0]), config)
    assert loss.tolist() == [6.0, pytest.approx(-2.56)]
    assert clipped.tolist() == [True, True]


def test_at_ratio_one_the_gradient_is_minus_advantage_over_the_number_of_tokens():
    batch = _batch([2.0, 2.0, -1.0, -1.0], [2, 2])
    logprobs = batch.logprobs.clone().requires_grad_()
    _loss(batch, torch.ones(4, dtype=torch.bool), logprobs).loss.backward()
    assert logprobs.grad.tolist() == [-0.5, -0.5, 0.25, 0.25]


def test_closed_tokens_have_no_policy_gradient_but_a_kl_gradient():
    batch = _batch([1.0, 1.0], [2], reference=[-1.5, -1.5])
    gate = torch.tensor([True, False])
    logprobs = batch.logprobs.clone().requires_grad_()
    _loss(batch, gate, logprobs, kl=KlConfig(beta=0.0)).loss.backward()
    assert logprobs.grad[1].item() == 0.0
    logprobs.grad = None
    _loss(batch, gate, logprobs, kl=KlConfig(beta=0.1)).loss.backward()
    # d k3 / d logprob = 1 - exp(reference - logprob), over two tokens, times beta
    assert logprobs.grad[1].item() == pytest.approx(0.1 / 2 * (1 - math.exp(-0.5)))


def test_kl_can_be_kept_to_gated_tokens():
    batch = _batch([0.0, 0.0], [2], reference=[-1.5, -1.5])
    logprobs = batch.logprobs.clone().requires_grad_()
    output = _loss(batch, torch.tensor([True, False]), logprobs, kl=KlConfig(beta=0.1, where="gated"))
    output.loss.backward()
    assert logprobs.grad.tolist() == [pytest.approx(0.1 * (1 - math.exp(-0.5))), 0.0]


def test_denominators_by_hand():
    batch = _batch([1.0] * 6, [2, 4])
    gate = torch.tensor([True, False, True, False, False, True])
    counts = count(batch, gate, max_tokens=10)
    weights = {
        d: surrogate_weights(batch, gate, counts, d).tolist() for d in ("tokens", "gated", "sequences", "constant")
    }
    assert weights["tokens"] == pytest.approx([1 / 6, 0, 1 / 6, 0, 0, 1 / 6])
    assert weights["gated"] == pytest.approx([1 / 3, 0, 1 / 3, 0, 0, 1 / 3])
    assert weights["sequences"] == pytest.approx([1 / 4, 0, 1 / 8, 0, 0, 1 / 8])
    assert weights["constant"] == pytest.approx([1 / 20, 0, 1 / 20, 0, 0, 1 / 20])


@given(st.lists(st.booleans(), min_size=6, max_size=6).filter(any))
def test_gated_denominator_is_the_token_denominator_rescaled(gate):
    batch = _batch([1.0, -2.0, 0.5, 0.5, 1.0, -1.0], [2, 4])
    gate = torch.tensor(gate)
    logprobs = torch.linspace(-2, 0, 6)
    by_tokens = _loss(batch, gate, logprobs, LossConfig(denominator="tokens")).loss
    by_gated = _loss(batch, gate, logprobs, LossConfig(denominator="gated")).loss
    assert by_gated.item() == pytest.approx(by_tokens.item() * 6 / int(gate.sum()), rel=1e-5)


@given(st.permutations(range(6)), st.integers(1, 5))
def test_micro_batches_add_up_however_they_are_cut(order, cut):
    batch = _batch([1.0, -2.0, 0.5, 0.5, 1.0, -1.0], [2, 4], reference=[-1.0, -2.0, -0.5, -1.0, -1.0, -3.0])
    gate = torch.tensor([True, False, True, True, False, True])
    logprobs, kl = torch.linspace(-2, 0, 6), KlConfig(beta=0.05)
    whole = _loss(batch, gate, logprobs, kl=kl).loss
    parts = [torch.tensor(order[:cut]), torch.tensor(order[cut:])]
    split = sum(_loss(batch, gate, logprobs, kl=kl, rows=rows).loss for rows in parts)
    assert split.item() == pytest.approx(whole.item(), rel=1e-5)


def test_an_open_gate_is_exactly_the_ungated_loss():
    batch = _batch([1.0, -2.0, 0.5, 0.5], [2, 2])
    logprobs = torch.linspace(-2, 0, 4)
    token_loss, _ = ppo_clip((logprobs - batch.logprobs).exp(), batch.advantages, LossConfig())
    assert _loss(batch, torch.ones(4, dtype=torch.bool), logprobs).loss.item() == pytest.approx(
        token_loss.mean().item()
    )


@given(st.floats(-5, 0), st.floats(-5, 0))
def test_k3_is_not_negative_and_zero_only_at_equality(logprob, reference):
    value = k3(torch.tensor(logprob, dtype=torch.float64), torch.tensor(reference, dtype=torch.float64)).item()
    assert value >= -1e-12
    assert (value < 1e-12) == (abs(logprob - reference) < 1e-5) or abs(logprob - reference) < 1e-5
    assert k1(torch.tensor(logprob), torch.tensor(reference)).item() == pytest.approx(logprob - reference, abs=1e-6)


def test_metrics_count_clipping_by_the_sign_of_the_advantage():
    batch = _batch([1.0, 1.0, -1.0, -1.0], [2, 2], logprobs=[-1.0, -1.0, -1.0, -1.0])
    logprobs = torch.log(torch.tensor([2.0, 1.0, 0.1, 1.0])) - 1.0
    metrics = _loss(batch, torch.ones(4, dtype=torch.bool), logprobs).metrics
    assert (metrics["num_clipped_high"], metrics["num_clipped_low"], metrics["num_gated"]) == (1.0, 1.0, 4.0)
    closed = dataclasses.replace(batch)
    assert _loss(closed, torch.zeros(4, dtype=torch.bool), logprobs).loss.item() == 0.0
