"""The surrogate, the KL estimators and the objective, with numbers computed by hand."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from packed import packed_batch

from earl.config import KlConfig, LossConfig, config_from_dict
from earl.loss.cispo import cispo
from earl.loss.correction import correction_level, correction_weights, mismatch_metrics
from earl.loss.kl import ESTIMATORS, estimator_of, k1, k2, k3
from earl.loss.policy import count, kl_weights, policy_loss, surrogate_weights
from earl.loss.ppo_clip import ppo_clip
from earl.loss.ratio import sequence_ratios
from earl.step_metrics import correction_metrics
from earl.types import TokenBatch


def _batch(advantages, lengths, *, logprobs=None, reference=None, **fields) -> TokenBatch:
    return packed_batch(lengths, advantages=advantages, logprobs=logprobs, reference_logprobs=reference, **fields)


def _loss(batch, gate, logprobs, loss=LossConfig(), kl=KlConfig(), rows=None):  # noqa: B008
    estimator = estimator_of(kl.estimator, kl.where)
    counts = count(batch, gate, max_tokens=10)
    weights = (surrogate_weights(batch, gate, counts, loss.denominator), kl_weights(batch, gate, counts, kl))
    rows = torch.arange(batch.num_tokens) if rows is None else rows
    return policy_loss(logprobs[rows], rows, batch, weights, loss, estimator)


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
        token_loss.mean().item(),
        abs=1e-7,  # the op sums in fp64
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
    assert _loss(batch, torch.zeros(4, dtype=torch.bool), logprobs).loss.item() == 0.0


def _gradient(batch, gate, logprobs, loss, kl=KlConfig()):  # noqa: B008
    logprobs = logprobs.clone().requires_grad_()
    _loss(batch, gate, logprobs, loss, kl).loss.backward()
    return logprobs.grad


def test_the_ratio_of_a_sequence_is_the_geometric_mean_over_its_open_tokens():
    log_ratios, responses = torch.tensor([0.2, 0.4, 9.0, -0.3]), torch.tensor([0, 0, 0, 1])
    gate = torch.tensor([True, True, False, True])
    assert sequence_ratios(log_ratios, responses, gate).log().tolist() == pytest.approx([0.3, 0.3, 0.3, -0.3])


def test_gspo_by_hand():
    # Response 0: mean log-ratio 0.1, A = 1, not clipped; response 1: ratio e^-0.5 under 1 - 0.2, A = -1, clipped.
    batch = _batch([1.0, 1.0, -1.0], [2, 1])
    logprobs = batch.logprobs + torch.tensor([0.3, -0.1, -0.5])
    config, gate = LossConfig(name="gspo", denominator="sequences"), torch.ones(3, dtype=torch.bool)
    output = _loss(batch, gate, logprobs, config)
    assert output.loss.item() == pytest.approx((-math.exp(0.1) + 0.8) / 2)
    assert output.metrics["num_clipped_low"] == 1.0
    # d/dlogprob = -(1/B) A ratio / length for each token of response 0
    expected = [-math.exp(0.1) / 4, -math.exp(0.1) / 4, 0.0]
    assert _gradient(batch, gate, logprobs, config).tolist() == pytest.approx(expected)


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(-2, 2)), min_size=1, max_size=6))
def test_gspo_is_ppo_where_every_response_has_one_token(rows):
    batch = _batch([advantage for _, advantage in rows], [1] * len(rows))
    logprobs, gate = batch.logprobs + torch.tensor([x for x, _ in rows]), torch.ones(len(rows), dtype=torch.bool)
    losses = [_loss(batch, gate, logprobs, LossConfig(name=name)).loss.item() for name in ("ppo_clip", "gspo")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_cispo_weighs_by_the_bounded_ratio_and_cuts_no_gradient():
    config = LossConfig(name="cispo", clip_high=1.0)
    loss, is_bounded = cispo(torch.tensor([3.0, 0.1]), torch.tensor([1.0, -2.0]), config)
    assert loss.tolist() == pytest.approx([-2 * math.log(3), 0.2 * math.log(0.1)])
    assert is_bounded.tolist() == [True, False]
    batch = _batch([1.0, -2.0], [2])
    logprobs = batch.logprobs + torch.tensor([3.0, 0.1]).log()
    gradient = _gradient(batch, torch.ones(2, dtype=torch.bool), logprobs, config)
    assert gradient.tolist() == pytest.approx([-2 / 2, 0.2 / 2])


@pytest.mark.parametrize("name", ["ppo_clip", "gspo", "cispo"])
def test_at_ratio_one_all_surrogates_have_the_same_gradient(name):
    batch = _batch([2.0, 2.0, -1.0], [2, 1])
    gradient = _gradient(batch, torch.ones(3, dtype=torch.bool), batch.logprobs, LossConfig(name=name))
    assert gradient.tolist() == pytest.approx([-2 / 3, -2 / 3, 1 / 3])


@pytest.mark.parametrize("name", ["ppo_clip", "gspo", "cispo"])
@pytest.mark.parametrize("denominator", ["tokens", "gated", "sequences", "constant"])
def test_whole_responses_can_be_cut_into_micro_batches_in_any_way(name, denominator):
    batch = _batch([1.0, 1.0, -2.0, -2.0, -2.0, 0.5], [2, 3, 1])
    gate, logprobs = torch.tensor([True, False, True, True, False, True]), torch.linspace(-2, 0, 6)
    config = LossConfig(name=name, denominator=denominator)
    whole = _loss(batch, gate, logprobs, config).loss.item()
    parts = ([0, 1], [2, 3, 4, 5]), ([0, 1, 5], [2, 3, 4]), ([2, 3, 4], [0, 1], [5])
    for cut in parts:
        split = sum(_loss(batch, gate, logprobs, config, rows=torch.tensor(rows)).loss.item() for rows in cut)
        assert split == pytest.approx(whole, rel=1e-5)


def test_kl_estimators_by_hand():
    policy, reference = torch.tensor([-1.0]), torch.tensor([-1.5])
    assert (k1(policy, reference).item(), k2(policy, reference).item()) == (0.5, 0.125)
    assert k3(policy, reference).item() == pytest.approx(math.exp(-0.5) + 0.5 - 1)
    assert [estimator_of("auto", where) for where in ("all", "gated", "reward")] == ["k3", "k3", "k1"]


def test_k1_and_k3_are_unbiased_and_k2_is_near_for_near_policies():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50, generator=generator, dtype=torch.float64)
    policy = logits.log_softmax(0)
    reference = (logits + 0.05 * torch.randn(50, generator=generator, dtype=torch.float64)).log_softmax(0)
    exact = (policy.exp() * (policy - reference)).sum().item()
    means = {name: (policy.exp() * kl(policy, reference)).sum().item() for name, kl in ESTIMATORS.items()}
    assert means["k1"] == pytest.approx(exact)
    assert means["k3"] == pytest.approx(exact)
    assert means["k2"] == pytest.approx(exact, rel=0.1)


@pytest.mark.parametrize(("estimator", "slope"), [("k1", 1.0), ("k2", 0.5), ("k3", 1 - math.exp(-0.5))])
def test_the_chosen_estimator_is_the_one_that_pulls(estimator, slope):
    batch = _batch([0.0, 0.0], [2], reference=[-1.5, -1.5])
    kl = KlConfig(beta=0.1, estimator=estimator)
    gradient = _gradient(batch, torch.ones(2, dtype=torch.bool), batch.logprobs, LossConfig(), kl)
    assert gradient.tolist() == pytest.approx([0.05 * slope] * 2)


def test_importance_weights_are_truncated_by_token_and_by_sequence():
    # log-ratios trainer - sampler: ln 4, ln 1/2 | ln 1/2
    log_ratios = torch.tensor([4.0, 0.5, 0.5]).log()
    batch = _batch([1.0] * 3, [2, 1], old_logprobs=(log_ratios - 1.0).tolist())
    assert correction_weights(batch, "token", 2.0).tolist() == pytest.approx([2.0, 0.5, 0.5])
    assert correction_weights(batch, "sequence", 3.0).tolist() == pytest.approx([2.0, 2.0, 0.5])
    assert correction_weights(batch, "sequence", 1.5).tolist() == pytest.approx([1.5, 1.5, 0.5])


def test_a_corrected_loss_clips_against_the_trainer_and_weighs_by_the_sampler():
    # The trainer's own policy has not moved: the ratio is 1 though the sampler's log-probs are far off.
    batch = _batch([1.0, -2.0], [2], old_logprobs=[-0.5, -3.0])
    batch = dataclasses.replace(batch, corrections=correction_weights(batch, "token", 1.5))
    output = _loss(batch, torch.ones(2, dtype=torch.bool), torch.tensor([-0.5, -3.0]))
    assert output.ratios.tolist() == [1.0, 1.0]
    assert output.loss.item() == pytest.approx((-1.5 + 2 * math.exp(-2)) / 2)


def test_an_agreeing_sampler_needs_no_correction():
    batch = _batch([1.0, -2.0, 0.5], [2, 1], old_logprobs=[-1.0] * 3)
    for level in ("token", "sequence"):
        assert correction_weights(batch, level, 2.0).tolist() == [1.0] * 3
    levels = {
        (engine, chosen): correction_level(
            config_from_dict({"sampling": {"engine": engine}, "loss": {"correction": chosen}}, origin="test")
        )
        for engine in ("auto", "hf", "decode")
        for chosen in ("auto", "none", "sequence")
    }
    assert {levels[engine, "auto"] for engine in ("auto", "hf", "decode")} == {"none"}
    assert levels["hf", "sequence"] == "sequence"
    behind = {"rollout": {"max_staleness": 1, "num_workers": 1}}
    assert correction_level(config_from_dict(behind, origin="test")) == "token"
    assert correction_level(config_from_dict(behind | {"loss": {"correction": "none"}}, origin="test")) == "none"


def test_the_effective_sample_size_is_that_of_the_weights():
    batch = _batch([1.0] * 3, [2, 1], old_logprobs=(torch.tensor([4.0, 0.5, 0.5]).log() - 1.0).tolist())
    batch = dataclasses.replace(batch, corrections=correction_weights(batch, "token", 2.0))
    metrics = correction_metrics(batch, 2.0)  # weights 2, 1/2, 1/2
    assert metrics["sampler/correction_mean"] == pytest.approx(1.0)
    assert metrics["sampler/truncated_fraction"] == pytest.approx(1 / 3)
    assert metrics["sampler/ess"] == pytest.approx(3.0**2 / (3 * 4.5))
    assert metrics["sampler/ratio_max"] == pytest.approx(4.0)
    assert correction_metrics(dataclasses.replace(batch, corrections=None), 2.0) == {}


def test_mismatch_is_measured_as_kl_and_ratios():
    metrics = mismatch_metrics(torch.tensor([2.0, 0.5]).log())
    assert metrics["sampler/kl"] == pytest.approx((2 - 1 - math.log(2) + 0.5 - 1 + math.log(2)) / 2)
    assert (metrics["sampler/ratio_min"], metrics["sampler/ratio_max"]) == pytest.approx((0.5, 2.0))
    assert mismatch_metrics(torch.zeros(0))["sampler/kl"] == 0.0
