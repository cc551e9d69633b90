"""The training loop on a tiny model: it learns, it resumes bit-exactly, it never trains on our own failures."""

import json

import pytest
import torch
from fake_farm import FakeFarm
from safetensors.torch import load_file
from trainer_runs import PROBLEMS, by_checksum, make_config, metrics_of

from earl.engine.decode import DecodeEngine
from earl.hooks import Hooks
from earl.run_folder import RunFolder
from earl.train import train
from toolchain.errors import UsageError
from verifiers.types import Outcome

pytestmark = pytest.mark.usefixtures("one_thread")


def _state(result):
    folder = result.checkpoint.folder
    return load_file(folder / "model.safetensors"), torch.load(folder / "optimizer.pt", weights_only=True)["state"]


def _assert_same_end(first, second):
    (weights, state), (other_weights, other_state) = _state(first), _state(second)
    assert weights.keys() == other_weights.keys()
    assert all(torch.equal(weights[name], other_weights[name]) for name in weights)
    for index, values in state.items():
        assert all(torch.equal(values[name], other_state[index][name]) for name in values)


@pytest.mark.parametrize("stop_after", [1, 2, 3])
@pytest.mark.parametrize("is_in_mid_step", [False, True])
def test_an_interrupted_and_resumed_run_ends_as_an_unbroken_one(tiny_policy, tmp_path, stop_after, is_in_mid_step):
    kl = {"kl": {"beta": 0.01}}
    config = make_config(tiny_policy, tmp_path, "whole", **kl)
    whole_run = RunFolder.create(config, default_name="x")
    whole = train(config, whole_run, PROBLEMS, FakeFarm(by_checksum))

    config = make_config(tiny_policy, tmp_path, "broken", **kl)
    run = RunFolder.create(config, default_name="x")
    done, calls = [], []

    def should_stop():
        calls.append(None)
        return len(done) >= stop_after and (not is_in_mid_step or len(calls) % 3 == 0)

    first = train(
        config,
        run,
        PROBLEMS,
        FakeFarm(by_checksum),
        hooks=Hooks(should_stop=should_stop, on_step=lambda step, num_steps, metrics: done.append(step)),
    )
    assert first.num_steps < 4
    resumed = train(config, run, PROBLEMS, FakeFarm(by_checksum), is_resumed=True)
    assert resumed.num_steps == 4
    _assert_same_end(whole, resumed)
    assert metrics_of(whole_run) == metrics_of(run)
    moved = load_file(tiny_policy / "model.safetensors")
    assert any(not torch.equal(moved[name], tensor) for name, tensor in _state(whole)[0].items())


def test_lines_after_the_last_checkpoint_are_replayed_not_repeated(tiny_policy, tmp_path):
    config = make_config(tiny_policy, tmp_path, "run", train={"checkpoint_every": 2})
    run = RunFolder.create(config, default_name="x")

    class Killed(Exception):
        pass

    def kill(step, num_steps, metrics):
        if step == 3:
            raise Killed

    farm = FakeFarm(by_checksum)
    with pytest.raises(Killed):
        train(config, run, PROBLEMS, farm, hooks=Hooks(on_step=kill))
    assert farm.num_submitted == 3 * 8
    again = FakeFarm(by_checksum)
    train(config, run, PROBLEMS, again, is_resumed=True)
    assert [row["step"] for row in metrics_of(run)] == [1, 2, 3, 4]
    # The verdicts of step 3 were finished before the kill: they are read from the journal.
    assert again.num_submitted == 8


def test_judging_while_sampling_ends_as_judging_afterwards(tiny_policy, tmp_path, monkeypatch):
    generate, submitted_by_then = DecodeEngine.generate, []
    farms = {name: FakeFarm(by_checksum) for name in ("overlapped", "afterwards")}

    def watched(self, prompts, sampling, on_completion):
        completions = generate(self, prompts, sampling, on_completion)
        submitted_by_then.append(farms["overlapped"].num_submitted)
        return completions

    def deaf(self, prompts, sampling, on_completion):
        return generate(self, prompts, sampling)

    ends = []
    for name, replacement in (("overlapped", watched), ("afterwards", deaf)):
        monkeypatch.setattr(DecodeEngine, "generate", replacement)
        config = make_config(tiny_policy, tmp_path, name, sampling={"max_tokens": 30})
        run = RunFolder.create(config, default_name="x")
        ends.append((train(config, run, PROBLEMS, farms[name]), metrics_of(run)))
    assert submitted_by_then == [8, 16, 24, 32]
    assert ends[0][1] == ends[1][1]
    _assert_same_end(ends[0][0], ends[1][0])


def test_learning_rate_zero_keeps_weights_and_ratios(tiny_policy, tmp_path):
    config = make_config(tiny_policy, tmp_path, "still", train={"learning_rate": 0.0})
    run = RunFolder.create(config, default_name="x")
    result = train(config, run, PROBLEMS, FakeFarm(by_checksum))
    before, after = load_file(tiny_policy / "model.safetensors"), _state(result)[0]
    assert all(torch.equal(before[name], after[name]) for name in before)
    rows = metrics_of(run)
    assert max(row["sampler/log_ratio_abs_max"] for row in rows) < 1e-4
    assert all(row["grad_norm"] > 0 for row in rows)


@pytest.mark.parametrize("engine", ["hf", "decode"])
def test_bf16_ratios_stay_within_their_bounds_at_learning_rate_zero(tiny_policy, tmp_path, engine):
    config = make_config(
        tiny_policy,
        tmp_path,
        "still",
        model={"dtype": "bfloat16"},
        train={"learning_rate": 0.0},
        sampling={"engine": engine, "max_tokens": 40},
        gate={"name": "open"},
    )
    run = RunFolder.create(config, default_name="x")
    train(config, run, PROBLEMS, FakeFarm(by_checksum))
    for row in metrics_of(run):
        assert abs(row["sampler/log_ratio_mean"]) < 0.01
        assert row["sampler/log_ratio_abs_p999"] < 0.2


def test_tool_errors_leave_their_group_and_lone_rollouts_are_dropped(tiny_policy, tmp_path):
    config = make_config(tiny_policy, tmp_path, "errors", train={"num_steps": 1})
    run = RunFolder.create(config, default_name="x")
    texts = []
    farm = FakeFarm(lambda text: Outcome.TOOL_ERROR if texts.append(text) or len(texts) > 1 else Outcome.PASSED)
    result = train(config, run, PROBLEMS, farm)
    before, after = load_file(tiny_policy / "model.safetensors"), _state(result)[0]
    assert all(torch.equal(before[name], after[name]) for name in before)
    (row,) = metrics_of(run)
    assert (row["sim/tool_error"], row["sim/dropped_groups"], row["sim/dropped_rollouts"]) == (7 / 8, 2.0, 7.0)
    assert row["reward"] == 1.0  # of the one that was scored; it has no group
    rows = [json.loads(line) for line in run.completions_path(1).read_text().splitlines()]
    assert [row["reward"] for row in rows].count(None) == 7
    assert len((run.path / "verdicts.jsonl").read_text().splitlines()) == 1


def test_a_rewarded_token_becomes_likelier(tiny_policy, tmp_path):
    config = make_config(
        tiny_policy,
        tmp_path,
        "learns",
        train={"num_steps": 25, "group_size": 16, "learning_rate": 5e-3},
        gate={"params": {"fraction": 0.5}},
    )
    run = RunFolder.create(config, default_name="x")
    train(config, run, PROBLEMS, FakeFarm(lambda text: Outcome.PASSED if "m" in text else Outcome.SYNTAX_ERROR))
    rates = [row["pass_rate"] for row in metrics_of(run)]
    assert sum(rates[-5:]) / 5 > sum(rates[:3]) / 3 + 0.3


def test_shuffled_rewards_are_the_same_rewards_in_other_hands(tiny_policy, tmp_path):
    rewards = []
    for control in ("none", "shuffled"):
        config = make_config(tiny_policy, tmp_path, control, reward={"control": control}, train={"num_steps": 1})
        run = RunFolder.create(config, default_name="x")
        train(config, run, PROBLEMS, FakeFarm(by_checksum))
        rows = [json.loads(line) for line in run.completions_path(1).read_text().splitlines()]
        rewards.append([row["reward"] for row in rows])
    assert sorted(rewards[0]) == sorted(rewards[1])
    assert rewards[0] != rewards[1]


@pytest.mark.parametrize("where", ["all", "gated", "reward"])
def test_every_place_of_the_kl_term_trains(tiny_policy, tmp_path, where):
    config = make_config(tiny_policy, tmp_path, where, kl={"beta": 0.1, "where": where})
    run = RunFolder.create(config, default_name="x")
    train(config, run, PROBLEMS, FakeFarm(by_checksum))
    rows = metrics_of(run)
    assert rows[0]["kl"] < 1e-6  # the reference is the start
    assert rows[-1]["kl"] > rows[0]["kl"]


def test_mini_batches_make_one_update_each(tiny_policy, tmp_path):
    moved = []
    for number in (1, 2):
        config = make_config(tiny_policy, tmp_path, f"m{number}", train={"num_minibatches": number, "num_steps": 1})
        run = RunFolder.create(config, default_name="x")
        result = train(config, run, PROBLEMS, FakeFarm(by_checksum))
        moved.append(_state(result)[1][0]["step"].item())
    assert moved == [1.0, 2.0]


def test_gate_on_the_current_policy_is_the_gate_on_the_sampler_before_any_update(tiny_policy, tmp_path):
    gates = []
    for source in ("sampling", "current"):
        config = make_config(tiny_policy, tmp_path, source, gate={"entropy_source": source}, train={"num_steps": 1})
        run = RunFolder.create(config, default_name="x")
        train(config, run, PROBLEMS, FakeFarm(by_checksum))
        rows = [json.loads(line) for line in run.completions_path(1).read_text().splitlines()]
        gates.append([row["gate"] for row in rows])
    assert gates[0] == gates[1]


def test_too_few_problems_for_a_step_is_a_usage_error(tiny_policy, tmp_path):
    config = make_config(tiny_policy, tmp_path, "few", train={"num_problems": 8})
    run = RunFolder.create(config, default_name="x")
    with pytest.raises(UsageError, match="a step takes 8 problems and the set has 6"):
        train(config, run, PROBLEMS, FakeFarm(by_checksum))
