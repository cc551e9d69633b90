"""Metrics backends: they get every step, and none of them can stop a run."""

import sys
import types

import pytest
from fake_farm import FakeFarm
from trainer_runs import PROBLEMS, by_checksum, make_config, metrics_of

from earl.backends import Backends, check_backends
from earl.config import LogConfig, config_from_dict
from earl.hooks import Hooks
from earl.run_folder import RunFolder
from earl.train import train
from toolchain.errors import UsageError

pytestmark = pytest.mark.usefixtures("one_thread")


class _Recorder:
    """What wandb and trackio are asked for, in the order of the calls; `broken` names a call that fails."""

    def __init__(self, broken: str = "") -> None:
        self.calls, self.broken = [], broken

    def _note(self, call, *arguments):
        self.calls.append((call, *arguments))
        if call == self.broken:
            raise ConnectionError("no route to host\nsecond line")
        return self

    def init(self, **options):
        return self._note("init", options["project"], options["name"], options["resume"])

    def log(self, metrics, step):
        self._note("log", step, metrics)

    def finish(self):
        self._note("finish")


def _open(monkeypatch, tmp_path, name, recorder, last_step=0):
    monkeypatch.setitem(sys.modules, name, recorder)
    warnings = []
    config = config_from_dict({"log": {"backends": [name]}}, origin="test")
    return Backends(config, tmp_path / "run-7", last_step=last_step, warn=warnings.append), warnings


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_every_step_arrives(monkeypatch, tmp_path, name):
    recorder = _Recorder()
    backends, warnings = _open(monkeypatch, tmp_path, name, recorder, last_step=3)
    backends.write(4, {"reward": 0.5})
    backends.close()
    assert recorder.calls == [
        ("init", "earl-rtl", "run-7", "allow"),
        ("log", 4, {"reward": 0.5}),
        ("finish",),
    ]
    assert (warnings, backends.num_failures) == ([], 0)


@pytest.mark.parametrize("name", ["wandb", "trackio"])
@pytest.mark.parametrize(("broken", "num_failures"), [("init", 1), ("log", 3), ("finish", 1)])
def test_a_backend_that_is_down_warns_once_and_is_counted(monkeypatch, tmp_path, name, broken, num_failures):
    backends, warnings = _open(monkeypatch, tmp_path, name, _Recorder(broken))
    for step in (1, 2, 3):
        backends.write(step, {"reward": 0.5})
    backends.close()
    assert backends.num_failures == num_failures
    assert warnings == [f"{name} takes no metrics (no route to host); training goes on, metrics.jsonl has them all"]


@pytest.mark.parametrize("broken", ["init", "log", "finish"])
def test_a_backend_that_raises_never_stops_a_run(monkeypatch, tiny_policy, tmp_path, broken):
    ends = {}
    monkeypatch.setitem(sys.modules, "wandb", _Recorder(broken))
    for name, backends in (("without", ()), ("with", ("wandb",))):
        config = make_config(tiny_policy, tmp_path, name, train={"num_steps": 2}, log={"backends": backends})
        run, warnings = RunFolder.create(config, default_name="x"), []
        result = train(config, run, PROBLEMS, FakeFarm(by_checksum), hooks=Hooks(warn=warnings.append))
        assert result.num_steps == 2
        ends[name] = (metrics_of(run), (result.checkpoint.folder / "model.safetensors").read_bytes())
        assert ["wandb takes no metrics" in warning for warning in warnings] == [True] * len(backends)
    assert ends["with"] == ends["without"]


def test_tensorboard_files_hold_the_scalars(tmp_path):
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event

    config = config_from_dict({"log": {"backends": ["tensorboard"]}}, origin="test")
    backends = Backends(config, tmp_path, last_step=0, warn=pytest.fail)
    backends.write(1, {"reward": 0.25, "sim/passed": 0.5})
    backends.write(2, {"reward": 0.75})
    backends.close()
    (file,) = (tmp_path / "tensorboard").iterdir()
    events = [Event.FromString(record) for record in _records(file.read_bytes())]
    found = [(event.step, value.tag, value.simple_value) for event in events for value in event.summary.value]
    assert found == [(1, "reward", 0.25), (1, "sim/passed", 0.5), (2, "reward", 0.75)]


def _records(data):
    """The records of a TFRecord file: length (8 bytes), checksum (4), data, checksum (4)."""
    while data:
        size = int.from_bytes(data[:8], "little")
        yield data[12 : 12 + size]
        data = data[16 + size :]


def test_what_is_not_installed_or_does_not_exist_is_said_before_the_run(monkeypatch):
    with pytest.raises(UsageError, match=r"unknown log\.backends 'wandbb'; known: tensorboard, trackio, wandb"):
        check_backends(LogConfig(backends=("wandbb",)))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'earl-rtl\[trackio\]'"):
        check_backends(LogConfig(backends=("trackio",)))
    with pytest.raises(UsageError, match=r"needs the package pyarrow: pip install 'earl-rtl\[parquet\]'"):
        check_backends(LogConfig(completions="parquet"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: types.ModuleType(name))
    check_backends(LogConfig(backends=("trackio", "wandb", "tensorboard"), completions="parquet"))
