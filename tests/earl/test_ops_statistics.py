"""earl.ops.token_statistics: hand-computed values, the twin, hard logits."""

import math
import sys

import pytest
import torch

from earl import ops

NAMES = tuple(ops.STATISTICS)


def test_hand_computed_values():
    # p = (1/2, 1/4, 1/8, 1/8); entropy 7/4 ln 2.
    logits = torch.tensor([[0.5, 0.25, 0.125, 0.125]]).log()
    found = ops.token_statistics(logits, torch.tensor([1]), names=NAMES, top_p=0.7, min_p=0.3)
    ln2 = math.log(2)
    assert {name: value.item() for name, value in found.items()} == {
        "logprob": pytest.approx(-2 * ln2),
        "entropy": pytest.approx(1.75 * ln2),
        "logsumexp": pytest.approx(0.0, abs=1e-6),
        "chosen_logit": pytest.approx(-2 * ln2),
        "mean_logit": pytest.approx(-2.25 * ln2),
        "self_certainty": pytest.approx(2.25 * ln2),
        # 1/4 (7/4 - 1) + 1/16 (7/4 - 2) + 2/64 (7/4 - 3), times ln 2
        "mean_entropy_change": pytest.approx((0.1875 - 0.015625 - 0.0390625) * ln2, rel=1e-5),
        "top_p_mass": pytest.approx(0.75),
        "top_p_entropy": pytest.approx(-(2 / 3) * math.log(2 / 3) - (1 / 3) * math.log(1 / 3)),
        "min_p_logprob": pytest.approx(math.log(1 / 3)),
    }


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
@pytest.mark.parametrize("vocab", [1, 2, 63, 1000, 5_001])
def test_every_statistic_agrees_with_its_twin_in_every_type(vocab, temperature):
    generator = torch.Generator().manual_seed(vocab)
    for scale in (0.0, 0.3, 4.0):  # flat logits put every token into the nucleus' sort
        logits = torch.randn(4, vocab, generator=generator, dtype=torch.float64) * scale
        targets = torch.tensor([0, vocab - 1, vocab // 2, vocab // 3])
        for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 2e-5), (torch.bfloat16, 2e-5)):
            typed = logits.to(dtype)
            got = ops.token_statistics(typed, targets, temperature, names=NAMES, top_p=0.77, min_p=0.11)
            want = ops.token_statistics_ref(typed.double(), targets, temperature, names=NAMES, top_p=0.77, min_p=0.11)
            for name in NAMES:
                torch.testing.assert_close(got[name].double(), want[name], rtol=tolerance, atol=tolerance, msg=name)


def test_only_what_is_asked_for_is_given_in_the_order_asked():
    logits, targets = torch.randn(3, 9), torch.tensor([0, 1, 2])
    found = ops.token_statistics(logits, targets, names=("entropy", "logprob"))
    assert list(found) == ["entropy", "logprob"]
    stats = ops.token_logprob_entropy(logits, targets)
    assert torch.equal(found["entropy"], stats.entropy)
    assert torch.equal(found["logprob"], stats.logprob)


def test_a_token_that_the_min_p_law_drops_has_no_probability():
    logits = torch.tensor([[0.0, -5.0, -torch.inf]])
    for target in (1, 2):
        [value] = ops.token_statistics(logits, torch.tensor([target]), names=["min_p_logprob"]).values()
        assert value.item() == -math.inf


def test_a_nan_poisons_its_own_row_and_a_forbidden_token_none():
    logits = torch.zeros(3, 70)
    logits[1, 5] = math.nan
    logits[2, 5] = -math.inf
    found = ops.token_statistics(logits, torch.zeros(3, dtype=torch.int64), names=NAMES)
    for name in set(NAMES) - {"chosen_logit"}:
        assert found[name].isnan().tolist() == [False, True, False], name
    assert found["top_p_entropy"][2].item() == pytest.approx(math.log(56))  # 0.8 of 69 equal tokens


def test_opcheck_finds_nothing():
    arguments = (torch.randn(4, 33), torch.tensor([0, 32, 5, 5]), 0.7, list(NAMES), 0.8, 0.02)
    torch.library.opcheck(torch.ops.earl.token_statistics, arguments)


def test_wrong_arguments_are_refused():
    logits, targets = torch.zeros(2, 5), torch.tensor([0, 1])
    with pytest.raises(ValueError, match="unknown statistic entropi; known: logprob, entropy"):
        ops.token_statistics(logits, targets, names=["entropi"])
    with pytest.raises(ValueError, match=r"top_p must be in \(0, 1\], got 0"):
        ops.token_statistics(logits, targets, names=["top_p_mass"], top_p=0.0)
    with pytest.raises(ValueError, match=r"min_p must be in \[0, 1\], got 2"):
        ops.token_statistics(logits, targets, names=["min_p_logprob"], min_p=2.0)
    with pytest.raises(ValueError, match="entropy is asked for twice"):
        ops.token_statistics(logits, targets, names=["entropy", "entropy"])
    with pytest.raises(TypeError, match="logits must be float32, float64, bfloat16 or float16, got Long"):
        ops.token_statistics(logits.long(), targets, names=["entropy"])


def test_statistics_of_a_head_are_those_of_its_logits_whatever_the_block(monkeypatch):
    generator = torch.Generator().manual_seed(3)
    hidden, weight = torch.randn(11, 6, generator=generator), torch.randn(70, 6, generator=generator)
    bias, targets = torch.randn(70, generator=generator), torch.arange(11) * 6
    positions = torch.tensor([0, 3, 4, 10])
    want = ops.token_statistics(hidden @ weight.t() + bias, targets, 0.7, names=NAMES, top_p=0.6)
    for elements in (70 * 100, 70 * 3, 1):  # one block, blocks of three rows, of one
        monkeypatch.setattr(sys.modules["earl.ops.linear_token_statistics"], "_BLOCK_ELEMENTS", elements)
        for op in (ops.linear_token_statistics, ops.linear_token_statistics_ref):
            found = op(hidden, weight, targets, 0.7, names=NAMES, bias=bias, top_p=0.6)
            some = op(hidden, weight, targets, 0.7, names=NAMES, bias=bias, top_p=0.6, positions=positions)
            assert list(found) == list(NAMES)
            for name in NAMES:
                torch.testing.assert_close(found[name], want[name], msg=name, rtol=1e-5, atol=1e-5)
                torch.testing.assert_close(some[name], want[name][positions], msg=name, rtol=1e-5, atol=1e-5)


def test_statistics_of_no_row_are_empty():
    found = ops.linear_token_statistics(
        torch.zeros(0, 4), torch.zeros(9, 4), torch.zeros(0, dtype=torch.int64), names=["entropy", "top_p_mass"]
    )
    assert [value.shape for value in found.values()] == [(0,), (0,)]


@pytest.mark.parametrize("top_p", [1.0, 1 - 1e-7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_nucleus_of_everything_stops_before_forbidden_tokens(dtype, top_p):
    """The exact sum of a whole row can miss the total by a rounding; what comes then has no probability."""
    logits = torch.randn(200, 300, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)
    logits[:, 0] = -math.inf
    targets = torch.ones(200, dtype=torch.long)
    names = ["entropy", "top_p_mass", "top_p_entropy"]
    entropy, mass, nucleus = ops.token_statistics(logits, targets, names=names, top_p=top_p).values()
    torch.testing.assert_close(mass, torch.ones_like(mass), rtol=0, atol=1e-5)
    torch.testing.assert_close(nucleus, entropy, rtol=0, atol=1e-4)


def test_a_row_without_a_distribution_has_no_nucleus():
    found = ops.token_statistics(torch.full((1, 5), -math.inf), torch.zeros(1, dtype=torch.long), names=NAMES)
    assert all(found[name].isnan().all() for name in ("entropy", "top_p_mass", "top_p_entropy"))


def test_a_head_under_autocast_is_multiplied_in_its_type(monkeypatch):
    generator = torch.Generator().manual_seed(3)
    hidden, weight = (torch.randn(n, 8, generator=generator) for n in (7, 40))
    bias, targets = torch.randn(40, generator=generator), torch.arange(7)
    monkeypatch.setattr(sys.modules["earl.ops.linear_token_statistics"], "_BLOCK_ELEMENTS", 120)
    with torch.autocast("cpu", torch.bfloat16):
        logits = torch.nn.functional.linear(hidden, weight, bias)
        found = ops.linear_token_statistics(hidden, weight, targets, names=["chosen_logit"], bias=bias)["chosen_logit"]
    torch.testing.assert_close(found, logits[targets, targets].float(), rtol=1e-2, atol=0)  # an ulp of bfloat16
