"""The layer kernels against their twins in plain torch: values and gradients, odd shapes, low precision."""

import pytest
import torch
from torch.library import opcheck

from earl import layer_ops
from earl.engine.decode_ops import CACHE_MULTIPLE, LayerCache, Places, decode_attention, decode_attention_ref

SHAPES = [(1, 2), (3, 7), (37, 576), (200, 33)]


def _leaf(*shape, seed, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_()


def _assert_same_gradients(ours, theirs, leaves):
    """Both are lists of outputs; each output's gradient is drawn once and given to both."""
    slopes = [torch.randn_like(output) for output in theirs]
    got = torch.autograd.grad(ours, leaves, slopes)
    wanted = torch.autograd.grad(theirs, leaves, slopes)
    for value, truth in zip(got, wanted, strict=True):
        torch.testing.assert_close(value, truth, atol=1e-11, rtol=1e-11)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("has_delta", [True, False])
def test_norm_after_addition_is_its_twin(shape, has_delta):
    x, weight = _leaf(*shape, seed=1), _leaf(shape[1], seed=2)
    delta = _leaf(*shape, seed=3) if has_delta else None
    ours = layer_ops.add_rms_norm(x, delta, weight, 1e-5, torch.float64)
    theirs = layer_ops.add_rms_norm_ref(x, delta, weight, 1e-5, torch.float64)
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-12)
    if has_delta:
        _assert_same_gradients(ours, theirs, [x, weight, delta])
    else:
        _assert_same_gradients(ours[1:], theirs[1:], [x, weight])


@pytest.mark.parametrize("shape", SHAPES)
def test_swiglu_is_its_twin(shape):
    both = _leaf(shape[0], 2 * shape[1], seed=4)  # halves of one matrix: rows with strides
    ours, theirs = (op(*both.chunk(2, dim=1)) for op in (layer_ops.silu_mul, layer_ops.silu_mul_ref))
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-12)
    _assert_same_gradients([ours], [theirs], [both])


@pytest.mark.parametrize("shape", [(1, 1, 2), (5, 3, 8), (70, 9, 64)])
def test_rotation_is_its_twin_and_keeps_lengths(shape):
    x = _leaf(*shape, seed=5)
    angles = torch.rand(shape[0], shape[2] // 2, dtype=torch.float64) * 100
    ours, theirs = (op(x, angles.cos(), angles.sin()) for op in (layer_ops.rotate, layer_ops.rotate_ref))
    torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(ours.norm(dim=2), x.norm(dim=2))
    _assert_same_gradients([ours], [theirs], [x])


def test_extreme_gates_make_no_nan():
    gate = torch.tensor([[-1e30, -200.0, -1.0, 0.0, 200.0, 1e30]], requires_grad=True)
    up = torch.ones_like(gate, requires_grad=True)
    out = layer_ops.silu_mul(gate, up)
    out.sum().backward()
    torch.testing.assert_close(out, layer_ops.silu_mul_ref(gate, up))
    assert gate.grad.isfinite().all()
    assert gate.grad[0, 4:].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_low_precision_is_no_worse_than_the_twins(dtype):
    x, weight = _leaf(64, 100, seed=6, dtype=torch.float32), _leaf(100, seed=7, dtype=torch.float32)
    delta, gate, up = (_leaf(64, 100, seed=seed, dtype=dtype) for seed in (8, 9, 10))
    norms = [f(x, delta, weight, 1e-5, dtype)[1] for f in (layer_ops.add_rms_norm, layer_ops.add_rms_norm_ref)]
    exact = layer_ops.add_rms_norm_ref(x.double(), delta.double(), weight.double(), 1e-5, torch.float64)[1]
    products = [f(gate, up) for f in (layer_ops.silu_mul, layer_ops.silu_mul_ref)]
    truth = layer_ops.silu_mul_ref(gate.double(), up.double())
    for (ours, theirs), reference in ((norms, exact), (products, truth)):
        assert ours.dtype == dtype
        errors = [(value.double() - reference).abs().max() for value in (ours, theirs)]
        assert errors[0] <= 1.5 * errors[1] + 1e-7


def test_shapes_and_types_that_do_not_fit_are_refused():
    x, weight = torch.ones(2, 4), torch.ones(4)
    with pytest.raises(ValueError, match="weight"):
        layer_ops.add_rms_norm(x, None, torch.ones(3), 1e-5, torch.float32)
    with pytest.raises(TypeError, match="float64"):
        layer_ops.add_rms_norm(x, None, weight, 1e-5, torch.float64)
    with pytest.raises(ValueError, match="delta"):
        layer_ops.add_rms_norm(x, torch.ones(2, 4), weight, 1e-5, torch.bfloat16)
    with pytest.raises(ValueError, match="alike"):
        layer_ops.silu_mul(x, torch.ones(2, 3))
    with pytest.raises(ValueError, match="even width"):
        layer_ops.rotate(torch.ones(2, 1, 3), torch.ones(2, 1), torch.ones(2, 1))


def _decoding(heads, heads_kv, dim, dtype, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator).to(dtype)

    lengths, prompt_lengths = torch.tensor([0, 3, 39, 17, 32]), torch.tensor([33, 1, 64])
    positions = 2 * CACHE_MULTIPLE
    cache = LayerCache(
        prompt_keys=draw(3, heads_kv, dim, positions),
        prompt_values=draw(3, heads_kv, positions, dim),
        keys=draw(7, heads_kv, dim, positions),  # more places than rows
        values=draw(7, heads_kv, positions, dim),
    )
    for slot, length in enumerate(prompt_lengths.tolist()):  # what lies beyond must not be seen
        cache.prompt_keys[slot, :, :, length:] = float("nan")
        cache.prompt_values[slot, :, length:] = float("nan")
    for row, length in enumerate(lengths.tolist()):
        cache.keys[row, :, :, length:] = float("nan")
        cache.values[row, :, length:] = float("nan")
    angles = torch.rand(5, dim // 2, generator=generator) * 10
    group = torch.tensor([2, 0, 0, 1, 2])
    places = Places(prompt_lengths=prompt_lengths, group=group, lengths=lengths, cos=angles.cos(), sin=angles.sin())
    return draw(5, heads + 2 * heads_kv, dim), cache, places


@pytest.mark.parametrize("heads", [(9, 3, 64), (4, 2, 8), (3, 3, 40), (8, 1, 32), (5, 1, 96)])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 2e-6), (torch.bfloat16, 2e-2)])
def test_decoding_attention_is_its_twin(heads, dtype, bound):
    qkv, cache, places = _decoding(*heads, dtype)
    twin_cache = LayerCache(**{name: getattr(cache, name).clone() for name in LayerCache.__slots__})
    ours = decode_attention(qkv, cache, places)
    theirs = decode_attention_ref(qkv, twin_cache, places)
    assert ours.isfinite().all()
    torch.testing.assert_close(ours, theirs, atol=bound, rtol=bound)
    for name in LayerCache.__slots__:
        torch.testing.assert_close(getattr(cache, name), getattr(twin_cache, name), equal_nan=True)


def test_decoding_attention_changes_the_caches_it_says_and_refuses_places_that_do_not_exist():
    qkv, cache, places = _decoding(4, 2, 8, torch.float32)
    tensors = [cache.prompt_keys, cache.prompt_values, places.prompt_lengths, places.group, places.lengths]
    arguments = [qkv, places.cos, places.sin, *tensors, cache.keys, cache.values]
    opcheck(torch.ops.earl.decode_attention, tuple(t.nan_to_num() for t in arguments), test_utils="test_schema")
    for position, bad in ((6, torch.tensor([0, 0, 0, 0, 3])), (7, torch.tensor([0, 0, 0, 0, 64]))):
        with pytest.raises(IndexError, match="outside"):
            torch.ops.earl.decode_attention(*arguments[:position], bad, *arguments[position + 1 :])
