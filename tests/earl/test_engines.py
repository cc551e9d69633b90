"""The two engines against each other and against the trainer's own forward pass."""

import pytest
import torch
from transformers import GPT2Config

from earl.config import SamplingConfig
from earl.engine import make_engine
from earl.engine.llama import unsupported_reason
from earl.engine.sampling import chunk_prompts
from earl.forward import Sequences, lay_out, token_stats
from earl.policy import Policy
from hdl_bench.types import Sampling
from toolchain.errors import UsageError

PROMPTS = ["assign y = a", "module TopModule ( input clk, input [7:0] a", "if (reset) q <= 0;"]


def _engine(name, model, encoder, max_rows=64):
    sampling = SamplingConfig(engine=name, max_rows=max_rows)
    return make_engine(Policy(model=model, encoder=encoder), sampling, dtype="float32")


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_decode_loop_samples_what_the_transformers_loop_samples(tiny_model, tiny_encoder, temperature):
    sampling = Sampling(num_samples=4, max_tokens=24, temperature=temperature, seed=3)
    ours = _engine("decode", tiny_model, tiny_encoder).generate(PROMPTS, sampling)
    theirs = _engine("hf", tiny_model, tiny_encoder).generate(PROMPTS, sampling)
    first_tokens = lambda groups: [c.token_ids[:1] for group in groups for c in group]  # noqa: E731
    assert first_tokens(ours) == first_tokens(theirs)
    if temperature == 0.0:  # no chance involved: equal to the end, rows dropped or not
        assert [[c.token_ids for c in g] for g in ours] == [[c.token_ids for c in g] for g in theirs]


@pytest.mark.parametrize("name", ["decode", "hf"])
@pytest.mark.parametrize("temperature", [1.0, 1.7])
def test_log_probs_and_entropies_of_the_sampler_are_the_trainers(tiny_model, tiny_encoder, name, temperature):
    sampling = Sampling(num_samples=5, max_tokens=40, temperature=temperature, seed=11)
    for group in _engine(name, tiny_model, tiny_encoder).generate(PROMPTS, sampling):
        layout = lay_out(Sequences(prompt=group[0].prompt_token_ids, responses=tuple(c.token_ids for c in group)))
        with torch.no_grad():
            stats = token_stats(tiny_model, [layout], temperature=temperature, dtype=torch.float32)
        sampled = torch.tensor([value for c in group for value in c.logprobs])
        entropies = torch.tensor([value for c in group for value in c.entropies])
        torch.testing.assert_close(stats.logprob, sampled, atol=1e-4, rtol=0)
        torch.testing.assert_close(stats.entropy, entropies, atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["decode", "hf"])
def test_equal_seeds_give_equal_completions_and_other_seeds_others(tiny_model, tiny_encoder, name):
    engine = _engine(name, tiny_model, tiny_encoder)
    draws = [engine.generate(PROMPTS, Sampling(num_samples=2, max_tokens=16, seed=s)) for s in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]


@pytest.mark.parametrize("name", ["decode", "hf"])
def test_a_completion_ends_with_its_stop_token_or_is_marked(tiny_model, tiny_encoder, name):
    engine = _engine(name, tiny_model, tiny_encoder)
    completions = engine.generate(PROMPTS, Sampling(num_samples=16, max_tokens=60, temperature=2.0, seed=0))
    flat = [completion for group in completions for completion in group]
    stop = tiny_encoder.stop_token_id
    assert {completion.finish_reason for completion in flat} == {"stop", "length"}
    for completion in flat:
        assert (completion.token_ids[-1] == stop) == (completion.finish_reason == "stop")
        assert stop not in completion.token_ids[:-1]
        assert len(completion.token_ids) == len(completion.logprobs) == len(completion.entropies) <= 60
        assert completion.finish_reason == "stop" or len(completion.token_ids) == 60


@pytest.mark.parametrize("name", ["decode", "hf"])
def test_a_sampler_uses_the_weights_as_they_are_when_it_is_called(tiny_model, tiny_encoder, name):
    engine = _engine(name, tiny_model, tiny_encoder)
    sampling = Sampling(max_tokens=8, temperature=0.0)
    before = engine.generate(PROMPTS, sampling)
    with torch.no_grad():
        tiny_model.model.embed_tokens.weight.neg_()
    engine.update_weights(5)
    after = engine.generate(PROMPTS, sampling)
    assert [g[0].token_ids for g in after] != [g[0].token_ids for g in before]
    assert after[0][0].policy_version == 5


@pytest.mark.parametrize("name", ["decode", "hf"])
def test_completions_do_not_depend_on_how_many_rows_run_side_by_side(tiny_model, tiny_encoder, name):
    sampling = Sampling(num_samples=12, max_tokens=60, temperature=2.0, seed=0)
    wide = _engine(name, tiny_model, tiny_encoder).generate(PROMPTS, sampling)
    narrow = _engine(name, tiny_model, tiny_encoder, max_rows=7).generate(PROMPTS, sampling)
    token_ids = lambda groups: [[c.token_ids for c in group] for group in groups]  # noqa: E731
    assert token_ids(wide) == token_ids(narrow)
    assert len({len(c.token_ids) for group in wide for c in group}) > 3  # rows did end at different times


@pytest.mark.parametrize("name", ["decode", "hf"])
def test_every_completion_is_handed_over_once_when_it_is_finished(tiny_model, tiny_encoder, name):
    handed = {}

    def on_completion(prompt, sample, completion):
        assert (prompt, sample) not in handed
        handed[prompt, sample] = completion

    sampling = Sampling(num_samples=5, max_tokens=30, temperature=2.0, seed=0)
    engine = _engine(name, tiny_model, tiny_encoder, max_rows=4)
    groups = engine.generate(PROMPTS, sampling, on_completion)
    assert handed == {(i, j): c for i, group in enumerate(groups) for j, c in enumerate(group)}


def test_decode_loop_refuses_what_it_does_not_know(tiny_encoder):
    assert "gpt2" in unsupported_reason(GPT2Config())
    from transformers import GPT2LMHeadModel

    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=len(tiny_encoder.tokenizer), n_embd=32, n_layer=1, n_head=2, n_positions=256)
    ).eval()
    with pytest.raises(UsageError, match="gpt2"):
        _engine("decode", model, tiny_encoder)
    assert _engine("auto", model, tiny_encoder).name == "hf"
    assert len(_engine("auto", model, tiny_encoder).generate(PROMPTS, Sampling(max_tokens=4))) == 3


def test_chunks_keep_groups_whole_where_they_fit():
    prompts = [[1] * 5, [1] * 3, [1] * 9]
    assert chunk_prompts(prompts, 4, 8) == [[(1, 4), (0, 4)], [(2, 4)]]
    assert chunk_prompts(prompts, 5, 8) == [[(1, 5)], [(0, 5)], [(2, 5)]]
    assert chunk_prompts([[1]], 5, 2) == [[(0, 2)], [(0, 2)], [(0, 1)]]


def test_nucleus_keeps_the_fewest_tokens_that_reach_the_share():
    from earl.engine.sampling import _nucleus

    probs = torch.tensor([[0.5, 0.1, 0.3, 0.1]])
    assert _nucleus(probs, 0.75).tolist() == [[0.5, 0.0, pytest.approx(0.3), 0.0]]
    assert _nucleus(probs, 0.5).tolist() == [[0.5, 0.0, 0.0, 0.0]]
