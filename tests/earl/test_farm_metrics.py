"""Those of `sim/*` that are the growth of the farm's own counters over a step."""

import json
from dataclasses import replace

import pytest
from fake_farm import FakeFarm
from trainer_runs import PROBLEMS, by_checksum, make_config

from earl.farm_metrics import FarmMeter
from earl.run_folder import RunFolder
from earl.train import train
from toolchain.errors import DeadlineExceeded
from verifiers.farm_stats import FarmStats

pytestmark = pytest.mark.usefixtures("one_thread")


class _Told:
    """A judge whose statistics are what the test says, one after another."""

    def __init__(self, *answers):
        self._answers = list(answers)

    def stats(self):
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


AT_FIRST = FarmStats(num_workers=2, num_queued=0, num_running=0, max_queued=9, num_judged=100, judging_s=5.0)


def test_a_metric_is_the_growth_of_a_counter():
    later = replace(AT_FIRST, num_judged=164, judging_s=8.5, num_stored=3, num_workers_lost=1)
    metrics = FarmMeter(_Told(AT_FIRST, later)).metrics()
    assert (metrics["sim/judged"], metrics["sim/judging_s"]) == (64.0, 3.5)
    assert (metrics["sim/stored"], metrics["sim/workers_lost"], metrics["sim/shared"]) == (3.0, 1.0, 0.0)


def test_a_judge_that_cannot_be_asked_or_was_started_anew_gives_no_metric_and_stops_nothing():
    later, anew = replace(AT_FIRST, num_judged=110), replace(AT_FIRST, num_judged=7)
    meter = FarmMeter(_Told(AT_FIRST, DeadlineExceeded("no answer"), later, anew, replace(anew, num_judged=9)))
    assert [meter.metrics().get("sim/judged") for _ in range(4)] == [None, None, None, 2.0]


def test_every_row_of_a_run_has_them_beside_those_of_the_verdicts(tiny_policy, tmp_path):
    config = make_config(tiny_policy, tmp_path, "run", train={"num_steps": 2})
    run = RunFolder.create(config, default_name="x")
    train(config, run, PROBLEMS, FakeFarm(by_checksum))
    rows = [json.loads(line) for line in run.metrics_path.read_text().splitlines()]
    assert [(row["sim/judged"], row["perf/verdicts_reused"]) for row in rows] == [(8.0, 0.0)] * 2
    assert all(0 <= row["sim/passed"] <= 1 for row in rows)
