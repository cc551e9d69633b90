"""Checkpoints: whole or not there, damage is named, and an older one is used only on request."""

import json
import os
from pathlib import Path

import pytest
import torch
from tiny import build_tiny_model

from earl import checkpoint
from earl.policy import Policy
from toolchain.errors import InfrastructureError


@pytest.fixture
def save(tiny_encoder, tmp_path):
    policy = Policy(model=build_tiny_model(len(tiny_encoder.tokenizer)), encoder=tiny_encoder)
    optimizer = torch.optim.AdamW(policy.model.parameters())

    def save_step(step, *, keep=5, state=None):
        return checkpoint.save(tmp_path / "checkpoints", step, policy, optimizer, keep=keep, state=state)

    return save_step


def _flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE = {
    "a flipped bit": (lambda folder: _flip(folder / "model.safetensors"), "model.safetensors has other contents"),
    "a cut file": (lambda folder: os.truncate(folder / "optimizer.pt", 100), "optimizer.pt has 100 bytes instead of"),
    "a lost file": (lambda folder: (folder / "state.pt").unlink(), "it has no state.pt"),
    "no list": (lambda folder: (folder / "trainer.json").unlink(), "it has no trainer.json"),
    "half a list": (lambda folder: os.truncate(folder / "trainer.json", 20), "trainer.json is no list of its files"),
    "another list": (lambda folder: (folder / "trainer.json").write_text("[1]"), "trainer.json is no list"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_checkpoint_is_named_with_the_older_one_that_is_whole(save, kind):
    older, middle, newest = save(1), save(2), save(3)
    damage, words = DAMAGE[kind]
    assert checkpoint.newest(newest.folder.parent) == newest
    damage(newest.folder)
    _flip(middle.folder / "optimizer.pt")
    with pytest.raises(InfrastructureError) as caught:
        checkpoint.newest(newest.folder.parent)
    message = str(caught.value)
    assert f"the checkpoint {newest.folder} is damaged: " in message
    assert words in message
    assert f"--resume {older.folder}" in message
    with pytest.raises(InfrastructureError, match="is damaged"):
        checkpoint.at(newest.folder)
    chosen = checkpoint.at(older.folder)
    checkpoint.go_back_to(chosen)
    assert checkpoint.newest(newest.folder.parent) == older
    assert {path.name for path in newest.folder.parent.iterdir()} == {
        "step_000001",
        "left-step_000002",
        "left-step_000003",
    }


def test_without_a_whole_one_the_run_must_start_anew(save):
    only = save(1)
    _flip(only.folder / "model.safetensors")
    with pytest.raises(InfrastructureError, match="no older one is whole: start the run anew"):
        checkpoint.newest(only.folder.parent)


def test_a_run_killed_before_its_first_checkpoint_has_none(tmp_path):
    assert checkpoint.newest(tmp_path / "checkpoints") is None
    (tmp_path / "checkpoints" / ".partial-step_000001").mkdir(parents=True)
    assert checkpoint.newest(tmp_path / "checkpoints") is None
    assert checkpoint.at(tmp_path) is None
    assert checkpoint.at(tmp_path / "step_000001") is None


def test_what_killed_runs_left_is_cleared_by_the_next_checkpoint(save, tmp_path):
    for name in (".partial-step_000001/deep", ".removed-step_000000"):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
    saved = save(1)
    assert list(saved.folder.parent.iterdir()) == [saved.folder]


def test_every_file_and_folder_is_on_the_disk_before_the_name_is(save, tmp_path, monkeypatch):
    synced, renamed = [], []
    fsync, rename = os.fsync, Path.rename

    def noting_fsync(descriptor):
        synced.append(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    def noting_rename(path, target):
        renamed.append((set(synced), path))
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", noting_fsync)
    monkeypatch.setattr(Path, "rename", noting_rename)
    saved = save(1)
    ((before, partial),) = renamed
    names = {path.name for path in saved.folder.iterdir()}
    assert {"model.safetensors", "optimizer.pt", "state.pt", "trainer.json", "tokenizer.json"} <= names
    assert {partial, *(partial / name for name in names)} <= before
    assert synced[-1] == saved.folder.parent


def test_the_list_has_every_file_but_itself(save):
    saved = save(7)
    listed = json.loads((saved.folder / "trainer.json").read_text())
    assert listed["step"] == 7
    assert set(listed["files"]) == {path.name for path in saved.folder.iterdir()} - {"trainer.json"}


def test_saving_a_step_again_replaces_it(save):
    save(1, state={"number": 1})
    again = save(1, state={"number": 2})
    assert checkpoint.load_state(checkpoint.newest(again.folder.parent)) == {"number": 2}
