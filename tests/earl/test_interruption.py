"""A real signal to a real process, and a disk that refuses."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from tiny import build_tiny_model

from earl import checkpoint
from earl.policy import Policy
from toolchain.errors import InfrastructureError

ROOT = Path(__file__).parents[2]


@pytest.mark.tool
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_training_with_a_checkpoint_and_exit_code_one(tiny_policy, tmp_path, number):
    arguments = [
        "train",
        "configs/earl-fast.toml",
        f"model.path={tiny_policy}",
        "model.dtype=float32",
        f"run.dir={tmp_path}",
        "run.name=run",
        "sampling.max_tokens=8",
        "train.num_steps=5000",
        "train.num_problems=2",
        "train.group_size=2",
        "train.checkpoint_every=0",
        "problems.families=['bitwise']",
        "problems.num_problems=8",
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", "from earl.cli import main; main()", *arguments],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 240
    try:
        while not (metrics.exists() and metrics.read_text()):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline, "no step within 240 s"
            time.sleep(0.05)
        process.send_signal(number)
        _, messages = process.communicate(timeout=240)
    finally:
        process.kill()
    assert process.returncode == 1, messages
    assert "--resume" in messages
    saved = checkpoint.newest(tmp_path / "run" / "checkpoints")
    assert saved.step == len(metrics.read_text().splitlines())


def test_a_disk_that_refuses_leaves_the_older_checkpoints_whole(tiny_encoder, tmp_path, monkeypatch):
    policy = Policy(model=build_tiny_model(len(tiny_encoder.tokenizer)), encoder=tiny_encoder)
    optimizer = torch.optim.AdamW(policy.model.parameters())
    checkpoint.save(tmp_path, 1, policy, optimizer, keep=1)

    def refuse(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", refuse)
    with pytest.raises(InfrastructureError, match="No space left"):
        checkpoint.save(tmp_path, 2, policy, optimizer, keep=1)
    assert [path.name for path in tmp_path.iterdir()] == ["step_000001"]
    assert checkpoint.newest(tmp_path).step == 1


@pytest.fixture
def small_files():
    """Files of at most 20,000 bytes: enough for configs and the tokenizer, not for weights."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_weights_that_cannot_be_written_are_an_infrastructure_error(tiny_encoder, tmp_path, small_files):
    policy = Policy(model=build_tiny_model(len(tiny_encoder.tokenizer)), encoder=tiny_encoder)
    with pytest.raises(InfrastructureError, match=r"cannot write the checkpoint .*: .*File too large"):
        checkpoint.save(tmp_path, 1, policy, torch.optim.AdamW(policy.model.parameters()), keep=1)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InfrastructureError, match=r"cannot write the policy .*/policy: .*File too large"):
        policy.save_whole(tmp_path / "policy")
    assert list(tmp_path.iterdir()) == []


def test_only_the_newest_checkpoints_are_kept(tiny_encoder, tmp_path):
    policy = Policy(model=build_tiny_model(len(tiny_encoder.tokenizer)), encoder=tiny_encoder)
    optimizer = torch.optim.AdamW(policy.model.parameters())
    for step in (1, 2, 3):
        checkpoint.save(tmp_path, step, policy, optimizer, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_000002", "step_000003"]
