"""Updates that are no finite number: left out, kept for inspection, counted, and not for ever."""

import dataclasses
import json
import math

import pytest
import torch
from fake_farm import FakeFarm
from safetensors.torch import load_file
from trainer_runs import PROBLEMS, by_checksum, make_config, metrics_of

from earl import checkpoint, step
from earl.guard import TrainingDiverged
from earl.hooks import Hooks
from earl.policy import load_trainable
from earl.replay import load_batch, replay
from earl.run_folder import RunFolder
from earl.train import train
from toolchain.errors import UsageError

pytestmark = pytest.mark.usefixtures("one_thread")

FAULTS = {
    "nan loss": lambda loss: loss * float("nan"),
    "infinite loss": lambda loss: loss + float("inf"),
    "nan gradient": lambda loss: loss + (0 * loss).abs().sqrt(),  # 0, and 0 times infinity backwards
}


def _broken(monkeypatch, is_broken, fault=FAULTS["nan gradient"]):
    """Every update, counted from 1 over the run, whose number `is_broken` has a loss that `fault` spoils."""
    loss_of, accumulate, updates = step.policy_loss, step.accumulate_gradients, []

    def counting(*arguments):
        updates.append(None)
        accumulate(*arguments)

    def spoilt(*arguments):
        output = loss_of(*arguments)
        return dataclasses.replace(output, loss=fault(output.loss)) if is_broken(len(updates)) else output

    monkeypatch.setattr(step, "accumulate_gradients", counting)
    monkeypatch.setattr(step, "policy_loss", spoilt)


def _train(tiny_policy, tmp_path, warnings=None, **train_options):
    options = {"checkpoint_every": 1, "keep_checkpoints": 9} | train_options
    config = make_config(tiny_policy, tmp_path, "run", train=options)
    run = RunFolder.create(config, default_name="x")
    hooks = Hooks() if warnings is None else Hooks(warn=warnings.append)
    return run, lambda is_resumed=False: train(
        config, run, PROBLEMS, FakeFarm(by_checksum), hooks=hooks, is_resumed=is_resumed
    )


def _saved(run, number):
    folder = run.checkpoints / f"step_{number:06d}"
    return load_file(folder / "model.safetensors"), torch.load(folder / "optimizer.pt", weights_only=True)["state"]


def _are_equal(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_update_is_left_out_and_its_batch_kept(tiny_policy, tmp_path, monkeypatch, fault):
    _broken(monkeypatch, lambda number: number == 2, FAULTS[fault])
    warnings = []
    run, go = _train(tiny_policy, tmp_path, warnings, num_steps=3)
    go()
    (before, optimizer), (after, same_optimizer), (later, _) = (_saved(run, number) for number in (1, 2, 3))
    assert _are_equal(before, after)
    assert all(_are_equal(state, same_optimizer[index]) for index, state in optimizer.items())
    assert not _are_equal(after, later)
    rows = metrics_of(run)
    assert [row["update/skipped"] for row in rows] == [0, 1, 0]
    assert ["loss" in row for row in rows] == [True, False, True]
    folder = run.path / "skipped" / "step_000002_update_1"
    (warning,) = warnings
    assert warning.startswith("step 2: loss ")
    assert warning.endswith(f"the update is skipped, its batch is in {folder}")
    tensors = load_file(folder / "batch.safetensors")
    kept = [json.loads(line) for line in (folder / "rollouts.jsonl").read_text().splitlines()]
    logged = [json.loads(line) for line in run.completions_path(2).read_text().splitlines()]
    assert [row["text"] for row in kept] == [row["text"] for row in logged]
    assert tensors["gate"].int().tolist() == [is_open for row in logged for is_open in row["gate"]]
    assert tensors["token_ids"].tolist() == [token for row in kept for token in row["token_ids"]]
    assert tensors["row_offsets"].diff().tolist() == [len(row["token_ids"]) for row in kept]


def test_the_other_mini_batches_still_train(tiny_policy, tmp_path, monkeypatch):
    _broken(monkeypatch, lambda number: number == 2)
    run, go = _train(tiny_policy, tmp_path, num_steps=2, num_minibatches=2)
    go()
    assert [_saved(run, number)[1][0]["step"].item() for number in (1, 2)] == [1.0, 3.0]
    first, second = metrics_of(run)
    assert (first["update/skipped"], second["update/skipped"]) == (1, 0)
    assert first["loss"] == first["loss"]  # that of the update that was made: no NaN
    logged = [json.loads(line) for line in run.completions_path(1).read_text().splitlines()]
    kept = (run.path / "skipped" / "step_000001_update_2" / "rollouts.jsonl").read_text().splitlines()
    assert [json.loads(line)["text"] for line in kept] == [row["text"] for row in logged[4:]]  # the second group


def test_a_kept_batch_can_be_loaded_and_taken_once_more(tiny_policy, tmp_path, monkeypatch):
    sections = {"kl": {"beta": 0.01}, "loss": {"correction": "token"}, "run": {"num_threads": 1}}
    options = {"num_steps": 1, "num_minibatches": 2, "checkpoint_every": 0}
    config = make_config(tiny_policy, tmp_path, "run", train=options, **sections)
    run = RunFolder.create(config, default_name="x")
    accumulate, taken = step.accumulate_gradients, []

    def noting(config, policy, *batch):
        taken.append(batch[:-1])
        accumulate(config, policy, *batch)

    with monkeypatch.context() as patched:
        patched.setattr(step, "accumulate_gradients", noting)
        patched.setattr(step, "policy_loss", _spoilt_once(step.policy_loss))
        train(config, run, PROBLEMS, FakeFarm(by_checksum))
    folder = run.path / "skipped" / "step_000001_update_1"
    kept = load_batch(folder)
    batch, gate_N, layouts = taken[0]
    assert torch.equal(kept.gate_N, gate_N)
    for field in dataclasses.fields(batch):
        ours, theirs = getattr(kept.batch, field.name), getattr(batch, field.name)
        assert (ours is None) == (theirs is None), field.name
        assert ours is None or torch.equal(ours, theirs), field.name
    assert [layout.token_ids_S.tolist() for layout in kept.layouts] == [x.token_ids_S.tolist() for x in layouts]

    healthy = replay(folder, checkpoint=tiny_policy)  # with the weights that the run began with nothing is wrong
    metrics, policy = step.UpdateMetrics(), load_trainable(str(tiny_policy), config)
    accumulate(config, policy, batch, gate_N, layouts, metrics)
    norm = torch.nn.utils.clip_grad_norm_(policy.model.parameters(), float("inf"))
    assert (healthy.loss, healthy.grad_norm) == metrics.end_update(norm)
    assert (healthy.bad_parameters, healthy.weights) == ((), str(tiny_policy))

    with torch.no_grad():
        policy.model.model.norm.weight[3] = float("inf")
    policy.model.save_pretrained(str(tmp_path / "bad"))
    policy.encoder.tokenizer.save_pretrained(str(tmp_path / "bad"))
    bad = replay(folder, checkpoint=tmp_path / "bad")
    assert not math.isfinite(bad.grad_norm)
    assert "model.norm.weight" in bad.bad_parameters
    assert replay(folder).weights == str(run.checkpoints / "step_000001")


def _spoilt_once(loss_of):
    """A loss that is NaN the first time."""
    calls = []

    def spoilt(*arguments):
        calls.append(None)
        output = loss_of(*arguments)
        return dataclasses.replace(output, loss=output.loss * float("nan")) if len(calls) == 1 else output

    return spoilt


def test_what_is_no_kept_batch_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"holds no skipped batch; give one of RUN/skipped"):
        replay(tmp_path)


def test_three_steps_in_a_row_stop_the_run_with_the_last_good_weights(tiny_policy, tmp_path, monkeypatch):
    broken = {2, 3, 5, 6, 7}  # two in a row are borne, three are not
    _broken(monkeypatch, broken.__contains__)
    run, go = _train(tiny_policy, tmp_path, num_steps=9, checkpoint_every=4)
    with pytest.raises(TrainingDiverged, match=r"3 steps in a row .* at last step 7: loss ") as caught:
        go()
    assert caught.value.exit_code == 1
    saved = checkpoint.newest(run.checkpoints)
    assert saved.step == 7
    assert _are_equal(_saved(run, 4)[0], _saved(run, 7)[0])
    assert [row["step"] for row in metrics_of(run)] == list(range(1, 8))
    assert go(is_resumed=True).num_steps == 9  # the faults are over


def test_a_resumed_run_knows_how_many_steps_in_a_row_were_bad(tiny_policy, tmp_path, monkeypatch):
    _broken(monkeypatch, lambda number: number > 1)
    run, go = _train(tiny_policy, tmp_path, num_steps=9)
    with pytest.raises(TrainingDiverged):
        go()
    newest = checkpoint.newest(run.checkpoints)
    checkpoint.go_back_to(checkpoint.at(newest.folder.with_name("step_000003")))  # after two of them
    with pytest.raises(TrainingDiverged, match="at last step 4"):
        go(is_resumed=True)
