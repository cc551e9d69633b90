"""The gates, by hand-computed masks and by the properties that define them."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from packed import packed_batch

from earl.gate import make_gate
from earl.gate.spec import Schedule, fraction_at
from earl.token_class import CLASSES
from earl.types import TokenBatch
from toolchain.errors import UsageError


def _batch(responses: list[list[float]], classes: list[list[str]] | None = None, **fields) -> TokenBatch:
    if classes:
        fields["token_classes"] = [name for row in classes for name in row]
    lengths = [len(response) for response in responses]
    return packed_batch(lengths, entropies=[value for row in responses for value in row], **fields)


def test_each_response_keeps_its_own_most_uncertain_fifth():
    batch = _batch([[0.1, 0.9, 0.2, 0.3, 0.4], [5.0, 6.0, 7.0]])
    assert make_gate("entropy", {"fraction": 0.2})(batch).int().tolist() == [0, 1, 0, 0, 0, 0, 0, 1]


def test_batch_scope_can_starve_a_confident_response():
    batch = _batch([[0.1, 0.9, 0.2, 0.3, 0.4], [5.0, 6.0, 7.0]])
    gate = make_gate("entropy", {"fraction": 0.25, "scope": "batch"})
    assert gate(batch).int().tolist() == [0, 0, 0, 0, 0, 0, 1, 1]


def test_entropies_that_are_all_zero_do_not_open_the_gate():
    batch = _batch([[0.0] * 9 + [1.0]])
    assert make_gate("entropy", {"fraction": 0.2})(batch).nonzero().flatten().tolist() == [0, 9]


def test_min_entropy_refuses_to_pad_the_gate():
    batch = _batch([[0.0] * 9 + [1.0]])
    gate = make_gate("entropy", {"fraction": 0.2, "min_entropy": 0.01})
    assert gate(batch).nonzero().flatten().tolist() == [9]


def test_structural_gate_spends_the_budget_of_the_whole_response_on_its_classes():
    entropies = [[9.0, 8.0, 1.0, 2.0, 0.5, 7.0, 0.1, 0.1, 0.1, 0.1]]
    classes = [["comment", "comment", "keyword", "edge", "operator", "prose", *["keyword"] * 4]]
    structural = {"name": "structural", "params": {"classes": ["keyword", "edge", "operator"]}}
    gate = make_gate("entropy", {"fraction": 0.2, "within": structural})
    assert gate(_batch(entropies, classes)).nonzero().flatten().tolist() == [2, 3]


def test_structural_gate_over_all_classes_is_the_entropy_gate():
    batch = _batch([[0.3, 0.1, 0.9, 0.2, 0.8, 0.7]], [["keyword", "comment", "prose", "stop", "number", "other"]])
    everything = {"name": "structural", "params": {"classes": list(CLASSES)}}
    both = make_gate("entropy", {"fraction": 0.5, "within": everything})
    assert torch.equal(both(batch), make_gate("entropy", {"fraction": 0.5})(batch))


responses = st.lists(st.lists(st.sampled_from([0.0, 0.0, 0.1, 0.5, 1.0, 3.0]), min_size=1, max_size=30), min_size=1)


@given(responses, st.sampled_from([0.05, 0.07, 0.2, 1 / 3, 0.5, 1.0]))
def test_exactly_ceil_of_the_fraction_is_kept_in_each_response(values, fraction):
    gate_N = make_gate("entropy", {"fraction": fraction})(_batch(values))
    start = 0
    for response in values:
        kept = gate_N[start : start + len(response)]
        assert int(kept.sum()) == max(1, math.ceil(fraction * len(response) - 1e-9))
        if not kept.all():
            entropies = torch.tensor(response)
            assert entropies[kept].min() >= entropies[~kept].max()
        start += len(response)


@given(responses, st.sampled_from([0.1, 0.2, 0.5]))
def test_the_gate_sees_only_the_order_within_a_response(values, fraction):
    batch = _batch(values)
    gate = make_gate("entropy", {"fraction": fraction})
    scale_N = torch.arange(1, len(values) + 1).repeat_interleave(batch.lengths)
    moved = dataclasses.replace(batch, entropies=(batch.entropies * 2).exp() * scale_N)
    assert torch.equal(gate(batch), gate(moved))


@given(responses)
def test_fraction_one_is_the_open_gate(values):
    batch = _batch(values)
    assert torch.equal(make_gate("entropy", {"fraction": 1.0})(batch), make_gate("open", {})(batch))


@given(st.lists(st.floats(0, 5, width=32), min_size=1, max_size=40), st.sampled_from([0.1, 0.2, 0.9]))
def test_for_one_response_both_scopes_are_one(values, fraction):
    batch = _batch([values])
    gates = [make_gate("entropy", {"fraction": fraction, "scope": scope})(batch) for scope in ("response", "batch")]
    assert torch.equal(*gates)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("entropi", {}, "unknown gate 'entropi'"),
        ("entropy", {"fractoin": 0.2}, "fractoin"),
        ("entropy", {"fraction": 0.0}, "fraction"),
        ("structural", {"classes": ["keywords"]}, "keywords"),
        ("entropy", {"within": {"name": "structural", "params": {"classes": ["keywords"]}}}, "keywords"),
        ("union", {"gates": [{"name": "cnoe"}]}, "unknown gate 'cnoe'"),
        ("union", {"gates": []}, "at least 1"),
        ("entropy", {"fraction": {"start": 1.0, "end": 0.0, "num_steps": 5}}, "fraction"),
        ("cone", {"otherwise": "ajar"}, "otherwise"),
    ],
)
def test_a_wrong_gate_or_parameter_is_named(name, params, message):
    with pytest.raises(UsageError, match=message):
        make_gate(name, params)


def test_the_structural_gate_is_a_matter_of_class_alone():
    batch = _batch([[0.0, 9.0, 1.0]], [["keyword", "comment", "edge"]])
    assert make_gate("structural", {"classes": ["keyword", "edge"]})(batch).tolist() == [True, False, True]


def test_the_cone_gate_opens_on_suspect_lines_and_whole_where_there_is_no_cone():
    batch = _batch([[0.0] * 3, [0.0] * 2], suspects=[False, True, True, False, False])
    assert make_gate("cone", {})(batch).tolist() == [False, True, True, True, True]
    assert make_gate("cone", {"otherwise": "closed"})(batch).tolist() == [False, True, True, False, False]


def test_entropy_within_the_cone_takes_the_most_uncertain_suspects():
    batch = _batch([[5.0, 4.0, 1.0, 2.0, 3.0]], suspects=[False, True, True, True, False])
    gate = make_gate("entropy", {"fraction": 0.4, "within": {"name": "cone"}})
    assert gate(batch).tolist() == [False, True, False, True, False]


def test_intersection_and_union_of_gates_by_hand():
    batch = _batch([[5.0, 4.0, 1.0, 2.0, 3.0]], suspects=[False, True, True, True, False])
    gates = [{"name": "entropy", "params": {"fraction": 0.4}}, {"name": "cone"}]  # opens 0 1, and 1 2 3
    assert make_gate("intersection", {"gates": gates})(batch).nonzero().flatten().tolist() == [1]
    assert make_gate("union", {"gates": gates})(batch).nonzero().flatten().tolist() == [0, 1, 2, 3]
    one = make_gate("union", {"gates": gates[:1]})(batch)
    assert torch.equal(one, make_gate("intersection", {"gates": gates[:1]})(batch))


def test_a_schedule_starts_and_ends_where_it_says():
    linear, cosine = ({"start": 1.0, "end": 0.2, "num_steps": 5, "shape": shape} for shape in ("linear", "cosine"))
    fractions = [fraction_at(Schedule.model_validate(linear), step) for step in (1, 2, 3, 5, 99)]
    assert fractions == pytest.approx([1.0, 0.8, 0.6, 0.2, 0.2])
    fractions = [fraction_at(Schedule.model_validate(cosine), step) for step in (1, 2, 3, 5, 99)]
    # (1 - cos(pi / 4)) / 2 = 0.1464 of the way after a quarter of the time
    assert fractions == pytest.approx([1.0, 1 - 0.8 * 0.146447, 0.6, 0.2, 0.2], abs=1e-6)
    batch = _batch([[0.1 * number for number in range(10)]])
    counts = [int(make_gate("entropy", {"fraction": linear}, step=step)(batch).sum()) for step in (1, 3, 5, 50)]
    assert counts == [10, 6, 2, 2]
