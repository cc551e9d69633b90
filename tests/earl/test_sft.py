"""Warm start: it lowers the loss, repeats itself, and resumes bit-exactly."""

import json

import pytest
import torch
from tiny import build_tiny_model

from earl import checkpoint
from earl.config import PromptConfig, config_from_dict
from earl.hooks import Hooks
from earl.policy import Policy, load_policy
from earl.sft import learning_rate_at, plan_batches, sft
from hdl_bench.procedural.problems import make_problems

CONFIG = config_from_dict(
    {
        "model": {"dtype": "float32"},
        "sft": {"batch_size": 4, "learning_rate": 3e-3, "num_epochs": 2, "warmup_fraction": 0.2},
    },
    origin="test",
)


@pytest.fixture(scope="module")
def problems():
    return make_problems(families=["bitwise"], levels=(1,), split="train", num_problems=20, seed=0)


def _policy(encoder):
    return Policy(model=build_tiny_model(len(encoder.tokenizer)), encoder=encoder)


def _losses(folder):
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_the_loss_falls_and_repeats_with_the_seed(tiny_encoder, problems, tmp_path):
    runs = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        result = sft(_policy(tiny_encoder), problems, CONFIG, tmp_path / name)
        assert result.num_steps == result.num_planned == 10
        runs.append(_losses(tmp_path / name))
    assert runs[0] == runs[1]
    assert runs[0][-1] < runs[0][0] - 0.5


def test_a_stopped_warm_start_resumes_to_the_same_weights(tiny_encoder, problems, tmp_path):
    whole, folder = _policy(tiny_encoder), tmp_path / "whole"
    folder.mkdir()
    sft(whole, problems, CONFIG, folder)
    broken = tmp_path / "broken"
    broken.mkdir()
    steps = []
    hooks = Hooks(should_stop=lambda: len(steps) == 3, on_step=lambda step, num_steps, metrics: steps.append(step))
    assert sft(_policy(tiny_encoder), problems, CONFIG, broken, hooks=hooks).num_steps == 3
    saved = checkpoint.latest(broken / "checkpoints")
    resumed = load_policy(str(saved.folder), PromptConfig())
    sft(resumed, problems, CONFIG, broken, resumed=saved)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
    assert _losses(broken) == _losses(folder)


def test_batches_hold_every_example_once_an_epoch():
    batches = plan_batches(list(range(30, 51)), CONFIG)
    assert sorted(index for batch in batches[:6] for index in batch) == list(range(21))
    assert len(batches) == 12


def test_learning_rate_warms_up_and_runs_out():
    rates = [learning_rate_at(step, 10, CONFIG) / 3e-3 for step in range(1, 11)]
    assert rates[:3] == pytest.approx([0.5, 1.0, 8 / 9])
    assert rates[-1] == pytest.approx(1 / 9)
