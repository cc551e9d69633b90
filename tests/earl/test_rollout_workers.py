"""Rollout workers as real processes: killed, killed again and again, left behind, and joined from elsewhere."""

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from asynchronous_runs import OpenFarm, assert_same_end, make_config
from fake_farm import FakeFarm
from serving import serving, wait_for
from trainer_runs import PROBLEMS, by_checksum, metrics_of

from earl import checkpoint
from earl.hooks import Hooks
from earl.run_folder import RunFolder
from earl.train import train
from toolchain.errors import InfrastructureError

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


class _KillingFarm(OpenFarm):
    """Kills the worker that asks, on the jobs of these numbers (from 1)."""

    def __init__(self, deadly):
        super().__init__(by_checksum)
        self._deadly, self.num_kills = deadly, 0

    def submit(self, problem, text, seeds):
        future = super().submit(problem, text, seeds)
        if self.num_submitted in self._deadly:
            (process,) = multiprocessing.active_children()
            os.kill(process.pid, signal.SIGKILL)
            self.num_kills += 1
        return future


def _train(tiny_policy, tmp_path, name, farm, *, run=None, warnings=None):
    with serving(farm) as url:
        verifier = {"address": url}
        rollout = {"is_local": True, "max_staleness": 1}
        config = make_config(tiny_policy, tmp_path, name, rollout=rollout, verifier=verifier, run={"num_threads": 1})
        is_resumed, run = run is not None, run or RunFolder.create(config, default_name="x")
        hooks = Hooks(warn=(warnings if warnings is not None else []).append)
        return run, train(config, run, PROBLEMS, FakeFarm(by_checksum), is_resumed=is_resumed, hooks=hooks)


def test_killed_workers_change_nothing_or_end_the_run_with_a_checkpoint(tiny_policy, tmp_path):
    calm_run, calm = _train(tiny_policy, tmp_path, "calm", OpenFarm(by_checksum))
    assert not multiprocessing.active_children()

    warnings, farm = [], _KillingFarm({3, 19})
    killed_run, killed = _train(tiny_policy, tmp_path, "killed", farm, warnings=warnings)
    assert farm.num_kills == 2
    assert [line for line in warnings if "died" in line] == [
        "the rollout worker w0 died (signal SIGKILL); started again"
    ] * 2
    assert metrics_of(killed_run) == metrics_of(calm_run)
    assert_same_end(calm, killed)

    with pytest.raises(InfrastructureError, match=r"w0 died 4 times in a row, last of: signal SIGKILL; mend that"):
        _train(tiny_policy, tmp_path, "deadly", _KillingFarm(range(19, 1000)))
    assert not multiprocessing.active_children()
    deadly_run = RunFolder.open(tmp_path / "deadly")
    assert checkpoint.newest(deadly_run.checkpoints).step == 2  # its third step's groups never came
    assert list((deadly_run.path / "rollouts").iterdir()) == []
    _, mended = _train(tiny_policy, tmp_path, "deadly", OpenFarm(by_checksum), run=deadly_run)
    assert metrics_of(deadly_run) == metrics_of(calm_run)
    assert_same_end(calm, mended)


def _command(*arguments):
    return subprocess.Popen(
        [sys.executable, "-c", "from earl.cli import main; main()", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stderr=subprocess.PIPE,
        text=True,
    )


def _descendants(pid):
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *_descendants(child)]
    return found


def _is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_killed_trainer_leaves_no_worker_behind(tiny_policy, tmp_path):
    metrics = tmp_path / "run" / "metrics.jsonl"
    with serving(OpenFarm(by_checksum)) as url:
        settings = [f"model.path={tiny_policy}", "model.dtype=float32", f"run.dir={tmp_path}", "run.name=run"]
        sizes = ["sampling.max_tokens=8", "train.num_steps=5000", "train.num_problems=2", "train.group_size=2"]
        few = ["problems.families=['bitwise']", "problems.num_problems=8", "train.checkpoint_every=0"]
        rollout = ["rollout.max_staleness=1", "rollout.num_workers=2"]
        trainer = _command("train", "configs/earl-fast.toml", "--verifier", url, *settings, *sizes, *few, *rollout)
        try:
            wait_for(lambda: (metrics.exists() and metrics.read_text()) or trainer.poll() is not None, wall_s=240)
            assert trainer.poll() is None, trainer.stderr.read()
            workers = _descendants(trainer.pid)
            assert len(workers) >= 3  # two workers, and what they are forked from
        finally:
            trainer.kill()
        trainer.stderr.close()
        trainer.wait()
        wait_for(lambda: not any(map(_is_running, workers)), wall_s=60)


def test_a_worker_may_join_by_command(tiny_policy, tmp_path):
    _, calm = _train(tiny_policy, tmp_path, "calm", OpenFarm(by_checksum))
    rollout = {"max_staleness": 1}
    config = make_config(tiny_policy, tmp_path, "joined", rollout=rollout, run={"num_threads": 1})
    run = RunFolder.create(config, default_name="x")
    with serving(OpenFarm(by_checksum)) as url:
        joined = _command("rollouts", run.path, "--verifier", url)
        hooks = Hooks(should_stop=lambda: joined.poll() is not None)
        result = train(config, run, PROBLEMS, FakeFarm(by_checksum), hooks=hooks)
        _, messages = joined.communicate(timeout=60)
    assert result.num_steps == 4, messages
    assert joined.returncode == 0, messages
    assert f"the trainer in {run.path} has ended" in messages.replace("\n", "")
    assert_same_end(calm, result)
