"""The names of metrics: what runs write is what docs/training.md lists."""

import json
import re
from pathlib import Path

import pytest
from fake_farm import FakeFarm
from trainer_runs import PROBLEMS, by_checksum, make_config

from earl.asynchronous.rollouts import _Figures
from earl.farm_metrics import FARM_METRICS
from earl.metrics import is_of_machine
from earl.run_folder import RunFolder
from earl.train import train
from verifiers.farm_stats import FarmStats
from verifiers.types import Outcome

pytestmark = pytest.mark.usefixtures("one_thread")

# Written only where something happens that this run has not, or by other processes: tests of their own see them.
_ELSEWHERE = {"perf/backend_failures", "perf/worker_restarts"}


def _documented() -> set[str]:
    text = Path(__file__).parents[2].joinpath("docs", "training.md").read_text()
    table = text[text.index("| metric | of a step |") :].split("\n\n")[0]
    return {name for row in table.splitlines()[2:] for name in re.findall(r"`([^`]+)`", row.split("|")[1])}


def test_runs_write_what_is_documented_and_nothing_else(tiny_policy, tmp_path):
    sections = {"kl": {"beta": 0.01}, "loss": {"correction": "token"}, "log": {"signs": {"recheck_every": 1}}}
    run = RunFolder.create(make_config(tiny_policy, tmp_path, "run", **sections), default_name="x")
    train(run.config(), run, PROBLEMS, FakeFarm(by_checksum))
    written = set().union(*map(dict.keys, _rows(run))) | _Figures().values().keys()
    documented = _documented() - {"cheat/<rule>"} - _ELSEWHERE
    outcomes = {f"sim/{outcome.value}" for outcome in Outcome}
    rules = {name for name in written if name.startswith("cheat/")}
    assert written - documented - rules == outcomes - documented
    assert documented - written == set()


def _rows(run):
    return [json.loads(line) for line in run.metrics_path.read_text().splitlines()]


def test_every_counter_that_is_a_metric_is_one_of_the_farms():
    assert set(FARM_METRICS.values()) <= set(FarmStats.__dataclass_fields__)
    assert not FARM_METRICS.keys() & {f"sim/{outcome.value}" for outcome in Outcome}
    assert is_of_machine("sim/judging_s")
    assert is_of_machine("perf/step_s")
    assert not is_of_machine("sim/passed")
    assert not is_of_machine("sim/dropped_groups")
