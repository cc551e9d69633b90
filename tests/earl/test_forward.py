"""The shared-prompt layout against plain causal sequences: same log-probs, same gradients."""

import pytest
import torch

from earl import forward, ops
from earl.forward import Sequences, lay_out, micro_batches, token_stats

PROMPT = [5, 9, 2, 7, 7, 1]
RESPONSES = ([3, 4, 8, 0], [6, 0], [2], [9, 9, 9, 9, 9, 1, 0])


def test_layout_by_hand():
    layout = lay_out(Sequences(prompt=[10, 11], responses=([20, 21, 22], [30, 31])))
    assert layout.token_ids_S.tolist() == [10, 11, 20, 21, 30]
    assert layout.positions_S.tolist() == [0, 1, 2, 3, 2]
    assert layout.predicted_at.tolist() == [1, 2, 3, 1, 4]
    assert layout.targets.tolist() == [20, 21, 22, 30, 31]
    assert layout.visible_SS().int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]


@pytest.fixture
def exact_model(tiny_model):
    return tiny_model.double()


def _stats_and_gradients(model, layouts, weights, rows=None):
    model.zero_grad()
    stats = token_stats(model, layouts, temperature=1.3, dtype=torch.float32, rows=rows)
    (stats.logprob * weights).sum().backward()
    return stats, {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


def test_shared_prompt_gives_the_log_probs_and_gradients_of_plain_sequences(exact_model):
    shared = [lay_out(Sequences(prompt=PROMPT, responses=RESPONSES))]
    plain = [lay_out(Sequences(prompt=PROMPT, responses=(response,))) for response in RESPONSES]
    weights = torch.linspace(-1, 1, sum(map(len, RESPONSES)), dtype=torch.float64)
    packed, packed_gradients = _stats_and_gradients(exact_model, shared, weights)
    alone, alone_gradients = _stats_and_gradients(exact_model, plain, weights)
    torch.testing.assert_close(packed.logprob, alone.logprob, atol=1e-6, rtol=0)
    torch.testing.assert_close(packed.entropy, alone.entropy, atol=1e-6, rtol=0)
    for name, gradient in packed_gradients.items():
        torch.testing.assert_close(gradient, alone_gradients[name], atol=1e-6, rtol=1e-6, msg=name)


def test_packed_groups_give_the_log_probs_and_gradients_of_padded_ones(exact_model, monkeypatch):
    layouts = [
        lay_out(Sequences(prompt=PROMPT, responses=RESPONSES)),
        lay_out(Sequences(prompt=[1], responses=([2, 3], [4]))),
        lay_out(Sequences(prompt=[1, 2, 3], responses=([7],))),
    ]
    weights = torch.linspace(-1, 1, sum(layout.targets.numel() for layout in layouts), dtype=torch.float64)
    monkeypatch.setattr(forward, "is_supported", lambda model: False)
    packed, packed_gradients = _stats_and_gradients(exact_model, layouts, weights)
    monkeypatch.setattr(forward, "_packed_hidden_states", forward._padded_hidden_states)
    padded, padded_gradients = _stats_and_gradients(exact_model, layouts, weights)
    torch.testing.assert_close(packed.logprob, padded.logprob, atol=1e-7, rtol=0)
    for name, gradient in packed_gradients.items():
        torch.testing.assert_close(gradient, padded_gradients[name], atol=1e-9, rtol=1e-9, msg=name)


@pytest.mark.parametrize("rows", [None, torch.tensor([0, 3, 13, 14, 16])])
def test_the_pass_of_ours_gives_the_log_probs_and_gradients_of_the_models_own(exact_model, monkeypatch, rows):
    layouts = [
        lay_out(Sequences(prompt=PROMPT, responses=RESPONSES)),
        lay_out(Sequences(prompt=[1], responses=([2, 3], [4]))),
    ]
    size = sum(layout.targets.numel() for layout in layouts) if rows is None else len(rows)
    weights = torch.linspace(-1, 1, size, dtype=torch.float64)
    assert forward.is_supported(exact_model)
    ours, our_gradients = _stats_and_gradients(exact_model, layouts, weights, rows)
    monkeypatch.setattr(forward, "is_supported", lambda model: False)
    monkeypatch.setattr(forward, "_packed_hidden_states", forward._padded_hidden_states)
    theirs, their_gradients = _stats_and_gradients(exact_model, layouts, weights, rows)
    # transformers' RMSNorm rounds to fp32 even in an fp64 model; ours does not.
    torch.testing.assert_close(ours.logprob, theirs.logprob, atol=3e-6, rtol=0)
    for name, gradient in our_gradients.items():
        torch.testing.assert_close(gradient, their_gradients[name], atol=3e-6, rtol=3e-6, msg=name)


def test_the_pass_of_ours_agrees_in_fp32_and_bf16_within_rounding(tiny_model, monkeypatch):
    layouts = [lay_out(Sequences(prompt=PROMPT, responses=RESPONSES))]
    for dtype, bound in ((torch.float32, 1e-5), (torch.bfloat16, 0.05)):
        with torch.no_grad():
            ours = token_stats(tiny_model, layouts, temperature=1.0, dtype=dtype)
            with monkeypatch.context() as patch:
                patch.setattr(forward, "is_supported", lambda model: False)
                theirs = token_stats(tiny_model, layouts, temperature=1.0, dtype=dtype)
        torch.testing.assert_close(ours.logprob, theirs.logprob, atol=bound, rtol=0)
        torch.testing.assert_close(ours.entropy, theirs.entropy, atol=bound, rtol=0)


def test_responses_of_one_token_alone_feed_nothing(exact_model):
    [alone] = token_stats(
        exact_model, [lay_out(Sequences(prompt=PROMPT, responses=([4],)))], temperature=1.0, dtype=torch.float32
    ).logprob
    both = token_stats(
        exact_model, [lay_out(Sequences(prompt=PROMPT, responses=([4, 1], [3])))], temperature=1.0, dtype=torch.float32
    ).logprob
    torch.testing.assert_close(both[0], alone, atol=1e-9, rtol=0)


def test_the_models_own_attention_is_back_after_a_pass(exact_model):
    before = exact_model.config._attn_implementation
    token_stats(
        exact_model, [lay_out(Sequences(prompt=PROMPT, responses=RESPONSES))], temperature=1.0, dtype=torch.float32
    )
    assert exact_model.config._attn_implementation == before


def test_plain_layout_is_transformers_own_causal_forward(exact_model):
    response = list(RESPONSES[3])
    stats = token_stats(
        exact_model, [lay_out(Sequences(prompt=PROMPT, responses=(response,)))], temperature=1.0, dtype=torch.float32
    )
    logits = exact_model(torch.tensor([PROMPT + response])).logits[0, len(PROMPT) - 1 : -1]
    expected = logits.log_softmax(-1).gather(1, torch.tensor(response)[:, None]).squeeze(1)
    torch.testing.assert_close(stats.logprob, expected, atol=1e-6, rtol=0)


def test_rows_pick_and_the_others_cost_no_gradient(exact_model):
    layouts = [
        lay_out(Sequences(prompt=PROMPT, responses=RESPONSES)),
        lay_out(Sequences(prompt=[1], responses=([2, 3],))),
    ]
    rows = torch.tensor([0, 5, 13, 15])
    weights = torch.zeros(16, dtype=torch.float64)
    weights[rows] = 1.0
    picked, picked_gradients = _stats_and_gradients(exact_model, layouts, torch.ones(4, dtype=torch.float64), rows)
    whole, whole_gradients = _stats_and_gradients(exact_model, layouts, weights)
    torch.testing.assert_close(picked.logprob, whole.logprob[rows])
    for name, gradient in picked_gradients.items():
        torch.testing.assert_close(gradient, whole_gradients[name], atol=1e-9, rtol=1e-9, msg=name)


def test_micro_batches_fill_up_to_the_padded_size():
    assert micro_batches([10, 30, 20, 25], 60) == [[0, 2], [3, 1]]
    assert micro_batches([10, 300], 60) == [[0], [1]]
    assert micro_batches([], 60) == []


def test_the_reference_ops_are_used_when_asked_for_and_agree(tiny_model):
    layouts = [lay_out(Sequences(prompt=[1, 2, 3], responses=([4, 5, 6], [7, 8])))]
    found = {}
    try:
        for name in ("reference", "compiled"):
            ops.select(name)
            assert ops.in_force() is ops.OPS[name]
            found[name] = token_stats(tiny_model, layouts, temperature=1.3, dtype=torch.float32)
    finally:
        ops.select("compiled")
    torch.testing.assert_close(found["compiled"], found["reference"], rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="unknown ops 'fast'; known: compiled, reference"):
        ops.select("fast")
