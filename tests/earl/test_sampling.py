"""The draw of the next token: an inverse transform in one pass, with the statistics of the whole distribution."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from earl.engine.decode_ops import sample_tokens, sample_tokens_ref
from earl.engine.sampling import choose_tokens, row_uniforms
from hdl_bench.types import Sampling

LARGEST = 1 - 2**-53  # below 1 in fp64


def _logits(rows, vocab, scale=3.0, seed=0):
    return torch.randn(rows, vocab, generator=torch.Generator().manual_seed(seed)) * scale


def test_draw_by_hand():
    logits = torch.tensor([[0.2, 0.5, 0.3]]).log().repeat(5, 1)
    uniforms = torch.tensor([0.0, 0.19, 0.21, 0.69, 0.71], dtype=torch.float64)
    tokens, logprobs, entropies = sample_tokens(logits, uniforms, 1.0)
    assert tokens.tolist() == [0, 0, 1, 1, 2]
    torch.testing.assert_close(logprobs, torch.tensor([0.2, 0.2, 0.5, 0.5, 0.3]).log())
    torch.testing.assert_close(entropies, torch.full((5,), 1.0296530140645737))


@pytest.mark.parametrize("vocab", [1, 2, 511, 512, 513, 5000])
@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.0])
def test_draws_are_the_twins(vocab, temperature):
    logits = _logits(200, vocab, seed=vocab)
    uniforms = torch.rand(200, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    uniforms[:2] = torch.tensor([0.0, LARGEST])
    ours, theirs = sample_tokens(logits, uniforms, temperature), sample_tokens_ref(logits, uniforms, temperature)
    torch.testing.assert_close(ours[2], theirs[2], atol=2e-5, rtol=1e-5)
    cumulative = (logits.double() / temperature).softmax(dim=-1).cumsum(dim=-1)
    for row in range(200):
        token = int(ours[0][row])
        before = float(cumulative[row, token - 1]) if token else 0.0
        assert before - 1e-6 <= float(uniforms[row]) <= float(cumulative[row, token]) + 1e-6
    same = ours[0] == theirs[0]  # a draw within rounding of a boundary may fall on its other side
    assert same[2:].all()
    torch.testing.assert_close(ours[1][same], theirs[1][same], atol=2e-5, rtol=1e-5)


@settings(max_examples=25, deadline=None)
@given(vocab=st.integers(2, 1500), scale=st.floats(0.1, 8.0), seed=st.integers(0, 99))
def test_tokens_are_drawn_as_often_as_they_are_likely(vocab, scale, seed):
    logits = _logits(1, vocab, scale, seed)
    count = 2000
    uniforms = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    tokens, _, _ = sample_tokens(logits.repeat(count, 1), uniforms, 1.0)
    drawn = torch.bincount(tokens, minlength=vocab)
    expected = count * logits[0].double().softmax(0)
    assert ((drawn - expected).abs() < 1.01).all()  # evenly spaced draws miss an interval's share by less than one
    assert (tokens.diff() >= 0).all()


def test_what_has_no_probability_is_never_drawn():
    logits = torch.full((3, 1300), float("-inf"))
    logits[:, 700] = 2.0
    uniforms = torch.tensor([0.0, 0.5, LARGEST], dtype=torch.float64)
    tokens, logprobs, entropies = sample_tokens(logits, uniforms, 1.0)
    assert tokens.tolist() == [700, 700, 700]
    assert logprobs.tolist() == entropies.tolist() == [0.0, 0.0, 0.0]


def test_nucleus_narrows_the_choice_and_not_the_statistics():
    logits = torch.tensor([[0.5, 0.1, 0.3, 0.1]]).log().repeat(3, 1)
    uniforms = torch.tensor([0.1, 0.6, LARGEST], dtype=torch.float64)
    tokens, logprobs, _ = choose_tokens(logits, Sampling(top_p=0.75), uniforms)
    assert tokens.tolist() == [0, 0, 2]  # 0.5 / 0.8 = 0.625
    torch.testing.assert_close(logprobs, torch.tensor([0.5, 0.5, 0.3]).log())


def test_random_numbers_belong_to_seed_prompt_and_sample():
    draw = lambda seed, prompt, sample: row_uniforms(Sampling(seed=seed, max_tokens=8), prompt, sample)  # noqa: E731
    assert torch.equal(draw(3, 1, 2), draw(3, 1, 2))
    draws = [draw(*key).tolist() for key in ((3, 1, 2), (4, 1, 2), (3, 2, 1), (3, 1, 3))]
    assert len({tuple(values) for values in draws}) == 4


@pytest.mark.parametrize(
    ("logits", "uniforms", "temperature", "match"),
    [
        (torch.ones(2, 3, dtype=torch.float64), torch.zeros(2, dtype=torch.float64), 1.0, "float32"),
        (torch.ones(2, 3), torch.zeros(3, dtype=torch.float64), 1.0, "uniforms"),
        (torch.ones(2, 3), torch.zeros(2, dtype=torch.float64), 0.0, "temperature"),
        (torch.ones(2, 3), torch.zeros(2, dtype=torch.float64), 1e-40, "temperature"),
    ],
)
def test_what_does_not_fit_is_refused(logits, uniforms, temperature, match):
    with pytest.raises(ValueError, match=match):
        sample_tokens(logits, uniforms, temperature)
