"""Optimisers and schedules against numbers by hand and against torch."""

import importlib.util
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from earl import checkpoint, optimizers
from earl.config import config_from_dict
from earl.optimizers import check_optimizer, make_optimizer
from earl.schedules import SCHEDULES, check_schedule, factor
from earl.step import learning_rate_at
from earl.update_params import OptimizerParams
from toolchain.errors import UsageError


class _Pair(torch.nn.Module):
    def __init__(self, size=4):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(size, size))
        self.norm = torch.nn.Parameter(torch.ones(size))
        self.frozen = torch.nn.Parameter(torch.ones(size, size), requires_grad=False)


def _step(optimizer, model, gradient):
    for parameter in (model.weight, model.norm):
        parameter.grad = torch.full_like(parameter, gradient)
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    optimizer.step()


def test_adamw_by_hand_and_decay_on_matrices_only():
    """The first step of Adam is lr * sign(g); decay takes lr * 0.5 of a matrix before it, and nothing of a norm."""
    model = _Pair()
    _step(make_optimizer(model, OptimizerParams(weight_decay=0.5)), model, 3.0)
    torch.testing.assert_close(model.weight.data, torch.full((4, 4), 1 - 0.1 * 0.5 - 0.1))
    torch.testing.assert_close(model.norm.data, torch.full((4,), 0.9))
    assert torch.equal(model.frozen.data, torch.ones(4, 4))


def test_parameters_of_the_optimiser_reach_it():
    model = _Pair()
    chosen = OptimizerParams(params={"beta1": 0.5, "beta2": 0.6, "eps": 1e-3})
    group = make_optimizer(model, chosen).param_groups[0]
    assert (group["betas"], group["eps"]) == ((0.5, 0.6), 1e-3)


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed")
def test_8_bit_states_follow_adamw_in_a_quarter_of_the_memory_and_survive_a_checkpoint(tmp_path):
    torch.manual_seed(0)
    target = torch.randn(128, 128)
    models, ways = [_Pair(128) for _ in range(3)], ("adamw", "adamw_8bit", "adamw_8bit")
    chosen = [make_optimizer(model, OptimizerParams(name=name)) for model, name in zip(models, ways, strict=True)]

    def run(number, steps):
        model, optimizer = models[number], chosen[number]
        for group in optimizer.param_groups:
            group["lr"] = 0.01
        for _ in range(steps):
            model.weight.grad = model.weight.data - target
            model.norm.grad = model.norm.data - 0.5
            optimizer.step()

    run(0, 40)
    run(1, 40)
    moved = (models[0].weight - torch.ones(128, 128)).abs().mean()
    assert (models[0].weight - models[1].weight).abs().mean() < 0.05 * moved
    state = chosen[1].state[models[1].weight]
    assert state["state1"].dtype == torch.uint8
    num_bytes = sum(value.numel() * value.element_size() for key, value in state.items() if key in ("state1", "state2"))
    assert num_bytes == 2 * 128 * 128  # of AdamW's 8 bytes a value

    run(2, 20)
    torch.save(chosen[2].state_dict(), tmp_path / "optimizer.pt")
    weights = models[2].state_dict()
    models[2] = _Pair(128)
    models[2].load_state_dict(weights)
    chosen[2] = make_optimizer(models[2], OptimizerParams(name="adamw_8bit"))
    checkpoint.load_optimizer(checkpoint.Checkpoint(folder=tmp_path, step=20), chosen[2])
    run(2, 20)
    assert torch.equal(models[1].weight, models[2].weight)


def test_a_missing_library_an_unknown_name_and_no_gpu_are_named(monkeypatch):
    with pytest.raises(UsageError, match=r"unknown optimizer\.name 'adam'; known: adamw, adamw_8bit"):
        check_optimizer(OptimizerParams(name="adam"))
    with pytest.raises(UsageError, match=r"optimizer\.params\.beta"):
        check_optimizer(OptimizerParams(params={"beta": 0.5}))
    monkeypatch.setattr(optimizers.torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(optimizers.importlib.util, "find_spec", lambda name: object())
    with pytest.raises(UsageError, match="there is no GPU; use adamw_8bit"):
        check_optimizer(OptimizerParams(name="paged_adamw_8bit"))
    monkeypatch.setattr(optimizers.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'earl-rtl\[bitsandbytes\]'"):
        check_optimizer(OptimizerParams(name="adamw_8bit"))


def test_schedules_by_hand():
    """Five steps, two of warm-up: 1/2, 1, then the shape at 1/4, 2/4, 3/4 of the way."""
    rates = {name: [factor(name, step, 5, 2) for step in range(1, 6)] for name in SCHEDULES}
    assert rates["constant"] == [0.5, 1, 1, 1, 1]
    assert rates["linear"] == [0.5, 1, 0.75, 0.5, 0.25]
    half = 0.5 + 0.5 * math.cos(math.pi / 4)
    assert rates["cosine"] == pytest.approx([0.5, 1, half, 0.5, 1 - half])
    with pytest.raises(UsageError, match=r"unknown optimizer\.schedule 'cosin'; known: constant, linear, cosine"):
        check_schedule("cosin", key="optimizer.schedule")


@given(st.sampled_from(sorted(SCHEDULES)), st.integers(1, 50), st.integers(0, 60))
def test_a_learning_rate_rises_in_the_warm_up_then_never_and_stays_above_zero(name, num_steps, num_warmup):
    rates = [factor(name, step, num_steps, num_warmup) for step in range(1, num_steps + 1)]
    assert all(0 < rate <= 1 for rate in rates)
    peak = max(num_warmup, 1)
    assert rates[:peak] == sorted(rates[:peak])
    assert rates[peak - 1 :] == sorted(rates[peak - 1 :], reverse=True)
    assert num_steps < peak or rates[peak - 1] == 1


def test_the_trainers_learning_rate_follows_the_config():
    train = {"num_steps": 4, "learning_rate": 0.8, "warmup_steps": 0}
    config = config_from_dict({"train": train, "optimizer": {"schedule": "linear"}}, origin="test")
    assert [learning_rate_at(step, config) for step in (1, 2, 3, 4)] == pytest.approx([0.8, 0.6, 0.4, 0.2])
