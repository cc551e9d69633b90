"""The tiled attention kernel of packed groups: against the exact one, for every cut of a group, and what it refuses."""

import pytest
import torch

from earl.group_flash import flash_group_attention
from earl.group_tiles import _TiledAttention, attend_groups

HAS_KERNEL = torch.backends.cpu.get_cpu_capability() == "AVX512" and torch.ops.earl.cpu_multiplies(torch.bfloat16)
needs_kernel = pytest.mark.skipif(not HAS_KERNEL, reason="this processor does not multiply bfloat16")

GROUPS = {
    "less than a tile": [(5, [3, 0, 7]), (1, [1])],
    "a tile and one more": [(64, [64, 65]), (65, [1, 128])],
    "a prompt alone": [(70, [0, 0])],
    "two tiles and a bit": [(130, [191, 12, 64])],
    "more responses than bundles": [(67, [3, 70, 0, *range(1, 20)])],
}


def _leaves(groups, heads, heads_kv, width, seed=0):
    total = sum(prompt + sum(lengths) for prompt, lengths in groups)
    generator = torch.Generator().manual_seed(seed)
    shapes = ((total, heads, width), (total, heads_kv, width), (total, heads_kv, width), (total, heads, width))
    return [torch.randn(shape, generator=generator).bfloat16() for shape in shapes]


def _run(attend, query, key, value, slope, groups, scaling):  # noqa: PLR0913
    leaves = [tensor.detach().clone().requires_grad_() for tensor in (query, key, value)]
    context = attend(*leaves, groups, scaling)
    return [context.detach(), *torch.autograd.grad(context, leaves, slope)]


@needs_kernel
@pytest.mark.parametrize("heads", [(9, 3, 64), (2, 2, 16), (4, 1, 128)])
@pytest.mark.parametrize("groups", GROUPS.values(), ids=GROUPS)
def test_it_is_no_further_from_float64_than_torchs_flash_attention(groups, heads):
    tensors = _leaves(groups, *heads)
    scaling = heads[2] ** -0.5
    exact = _run(flash_group_attention, *(tensor.double() for tensor in tensors), groups, scaling)
    flash = _run(flash_group_attention, *tensors, groups, scaling)
    ours = _run(_TiledAttention.apply, *tensors, groups, scaling)
    for name, wanted, theirs, got in zip(("context", "query", "key", "value"), exact, flash, ours, strict=True):
        error, bound = ((tensor.double() - wanted).abs().max().item() for tensor in (got, theirs))
        assert error <= 1.6 * bound + 0.01 * wanted.abs().max().item(), (name, error, bound)


@needs_kernel
def test_large_scores_do_not_overflow():
    groups = [(66, [70])]
    query, key, value, slope = _leaves(groups, 2, 1, 16)
    tensors = [300 * query, 300 * key, value, slope]
    parts = _run(_TiledAttention.apply, *tensors, groups, 1.0)
    exact = _run(flash_group_attention, *(tensor.double() for tensor in tensors), groups, 1.0)
    assert all(part.isfinite().all() for part in parts)
    torch.testing.assert_close(parts[0].double(), exact[0], atol=0.02, rtol=0.02)


@needs_kernel
def test_nothing_is_seen_across_responses_nor_ahead():
    groups = [(40, [70, 90])]
    query, key, value, _ = _leaves(groups, 4, 2, 32)
    before = attend_groups(query, key, value, groups, 0.2)
    changed = [tensor.clone() for tensor in (key, value)]
    for tensor in changed:
        tensor[40 + 30 : 40 + 70] += 1  # the first response from its token 30 on
    after = attend_groups(query, *changed, groups, 0.2)
    same = (before == after).flatten(1).all(1)
    assert same[:70].all()
    assert not same[70:110].any()
    assert same[110:].all()


@needs_kernel
def test_results_depend_neither_on_threads_nor_on_strides():
    groups = GROUPS["two tiles and a bit"]
    query, key, value, slope = _leaves(groups, 9, 3, 64)
    threads = torch.get_num_threads()
    once = _run(_TiledAttention.apply, query, key, value, slope, groups, 0.125)
    try:
        torch.set_num_threads(1)
        alone = _run(_TiledAttention.apply, query, key, value, slope, groups, 0.125)
    finally:
        torch.set_num_threads(threads)
    joined = torch.cat([query, key, value], dim=1).requires_grad_()
    context = _TiledAttention.apply(*joined.split([9, 3, 3], dim=1), groups, 0.125)
    strided = [context.detach(), *torch.autograd.grad(context, joined, slope)[0].split([9, 3, 3], dim=1)]
    for other in (alone, strided):
        assert all(torch.equal(*pair) for pair in zip(once, other, strict=True))


@needs_kernel
def test_nan_stays_in_the_response_it_is_in():
    groups = [(10, [20, 30])]
    query, key, value, _ = _leaves(groups, 2, 1, 16)
    value[12] = torch.nan
    context = attend_groups(query, key, value, groups, 0.25)
    assert context[12:30].isnan().all()
    assert context[:10].isfinite().all()
    assert context[30:].isfinite().all()


def test_what_the_kernel_is_not_for_goes_through_flash_attention(monkeypatch):
    def refuse(*_arguments):
        raise AssertionError("the kernel is called")

    monkeypatch.setattr(_TiledAttention, "apply", refuse)
    groups = [(5, [3])]
    for dtype, width in ((torch.float32, 16), (torch.float64, 16), (torch.bfloat16, 8)):
        tensors = [tensor.to(dtype) for tensor in _leaves(groups, 2, 1, width)[:3]]
        assert torch.equal(attend_groups(*tensors, groups, 0.3), flash_group_attention(*tensors, groups, 0.3))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lengths": [5, 2]}, "must be those of a prompt and its responses, 8 tokens in all"),
        ({"lengths": [0, 8]}, "must be those of a prompt"),
        ({"lengths": [9, -1]}, "lengths must not be negative"),
        ({"query": torch.zeros(8, 3, 16).bfloat16()}, r"query must be \[N, heads, D\]"),
        ({"value": torch.zeros(8, 2, 32).bfloat16()}, r"query must be \[N, heads, D\]"),
        ({"key": torch.zeros(8, 2, 16)}, "inputs must be bfloat16"),
    ],
)
def test_wrong_input_is_told(change, said):
    tensors = {name: torch.zeros(8, heads, 16).bfloat16() for name, heads in (("query", 4), ("key", 2), ("value", 2))}
    arguments = tensors | {"lengths": [5, 3], "scaling": 1.0} | change
    with pytest.raises((ValueError, TypeError), match=said):
        torch.ops.earl.group_attention(*arguments.values())
