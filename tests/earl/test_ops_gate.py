"""earl.ops.entropy_gate against its twin, and by hand."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from earl import ops

BOOLS = torch.tensor([True, False])


def _all(entropy: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(entropy, dtype=torch.bool)


def test_hand_computed_masks():
    entropy = torch.tensor([0.1, 0.9, 0.5, 0.9, 0.0, 0.0, 0.3])
    offsets = torch.tensor([0, 4, 4, 7])  # the second response is empty
    gate = ops.entropy_gate(entropy, _all(entropy), None, offsets, 0.3)
    # ceil(0.3 * 4) = 2 of the first, ceil(0.3 * 3) = 1 of the last.
    assert gate.tolist() == [False, True, False, True, False, False, True]
    whole = ops.entropy_gate(entropy, _all(entropy), None, torch.tensor([0, 7]), 0.3)
    assert whole.tolist() == [False, True, True, True, False, False, False]
    eligible = torch.tensor([True, False, False, True, True, True, False])
    chosen = ops.entropy_gate(entropy, _all(entropy), eligible, offsets, 0.3, 0.05)
    assert chosen.tolist() == [True, False, False, True, False, False, False]


def test_the_length_is_that_of_the_completion():
    entropy = torch.arange(10.0)
    mask = torch.arange(10) < 5
    gate = ops.entropy_gate(entropy, mask, None, torch.tensor([0, 10]), 0.4)
    assert gate.nonzero().squeeze(1).tolist() == [3, 4]


def test_a_response_of_equal_entropies_keeps_its_first_tokens():
    entropy = torch.zeros(100)
    gate = ops.entropy_gate(entropy, _all(entropy), None, torch.tensor([0, 100]), 0.07)
    assert gate.nonzero().squeeze(1).tolist() == list(range(7))


@given(
    levels=st.lists(st.integers(-1, 4), min_size=0, max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=4),
    fraction=st.floats(0.01, 1.0),
    min_entropy=st.sampled_from([0.0, 0.5]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=200, deadline=None)
def test_the_op_equals_its_twin(levels, cuts, fraction, min_entropy, seed):
    size = len(levels)
    entropy = torch.tensor(levels, dtype=torch.float32) / 2
    entropy[entropy < 0] = torch.nan
    generator = torch.Generator().manual_seed(seed)
    mask, eligible = (BOOLS[torch.randint(0, 2, (size,), generator=generator)] for _ in range(2))
    offsets = torch.tensor([0, *sorted(min(cut, size) for cut in cuts), size])
    for allowed in (eligible, None):
        arguments = (entropy, mask, allowed, offsets, fraction, min_entropy)
        assert torch.equal(ops.entropy_gate(*arguments), ops.entropy_gate_ref(*arguments))


def test_opcheck_finds_nothing():
    entropy = torch.rand(9)
    for eligible in (None, entropy > 0.3):
        arguments = (entropy, _all(entropy), eligible, torch.tensor([0, 4, 9]), 0.3, 0.0)
        torch.library.opcheck(torch.ops.earl.entropy_gate, arguments)


def test_wrong_arguments_are_refused():
    entropy = torch.rand(9)
    with pytest.raises(ValueError, match="row_offsets must run from 0 to 9"):
        ops.entropy_gate(entropy, _all(entropy), None, torch.tensor([0, 8]), 0.3)
    with pytest.raises(ValueError, match="row_offsets must not fall, got 5, 4"):
        ops.entropy_gate(entropy, _all(entropy), None, torch.tensor([0, 5, 4, 9]), 0.3)
    with pytest.raises(ValueError, match=r"fraction must be in \(0, 1\], got 0"):
        ops.entropy_gate(entropy, _all(entropy), None, torch.tensor([0, 9]), 0.0)
    with pytest.raises(TypeError, match="completion_mask must be Bool"):
        ops.entropy_gate(entropy, entropy, None, torch.tensor([0, 9]), 0.3)


@pytest.mark.parametrize("least", [0.7, 0.35])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_token_exactly_at_the_least_entropy_is_kept(dtype, least):
    arguments = (
        torch.tensor([least], dtype=dtype),
        torch.ones(1, dtype=torch.bool),
        None,
        torch.tensor([0, 1]),
        1.0,
        least,
    )
    assert ops.entropy_gate(*arguments).tolist() == ops.entropy_gate_ref(*arguments).tolist() == [True]
