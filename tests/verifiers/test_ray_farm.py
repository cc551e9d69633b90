"""The farm on a local Ray of several processes: killed actors lose no job, and no job is credited twice."""

import os
import signal
import threading
import time
from contextlib import contextmanager

import pytest
from serving import GOLDEN, PARITY, wait_for

ray = pytest.importorskip("ray")

from toolchain.errors import InfrastructureError, UsageError  # noqa: E402
from verifiers import ray_farm as ray_farm_module  # noqa: E402
from verifiers.connect import FarmSettings, connect  # noqa: E402
from verifiers.judgement import GroupJob, Judgement  # noqa: E402
from verifiers.ray_farm import NoCluster, RayFarm  # noqa: E402
from verifiers.ray_worker import ActorLost  # noqa: E402
from verifiers.types import Outcome, Stage, Verdict  # noqa: E402

TEXTS = {
    GOLDEN: Outcome.PASSED,
    GOLDEN.replace("^a", "|a"): Outcome.MISMATCH,
    GOLDEN.replace(";", "", 1): Outcome.SYNTAX_ERROR,
    "no code here": Outcome.NO_CODE,
}


@pytest.fixture(scope="module")
def farm():
    ray.init(num_cpus=3, log_to_driver=False, include_dashboard=False)
    try:
        with RayFarm("ray", FarmSettings(num_workers=2, isolation="rlimits")) as opened:
            yield opened
    finally:
        ray.shutdown()


def _pids(farm: RayFarm) -> list[int]:
    return [worker.pid for worker in farm._workers if worker is not None]


@pytest.mark.tool
@pytest.mark.slow
def test_actors_killed_in_mid_run_lose_no_job_and_credit_none_twice(farm):
    jobs = [(PARITY, text, (seed,)) for seed in range(30) for text in TEXTS]
    credited: list[tuple[int, str]] = []
    futures = []
    for _, text, seeds in jobs:
        futures.append(farm.submit(PARITY, text, seeds))
        futures[-1].add_done_callback(lambda future, s=seeds, t=text: credited.append((s[0], t)))
    num_killed = 0
    while num_killed < 4 and not all(future.done() for future in futures):
        wait_for(lambda: _pids(farm))
        os.kill(_pids(farm)[0], signal.SIGKILL)
        num_killed += 1
        num_done = len(credited)
        wait_for(lambda n=num_done: len(credited) > n or all(future.done() for future in futures), wall_s=60)
    judgements = [future.result(timeout=120) for future in futures]
    assert num_killed >= 2
    assert [item.verdict.outcome for item in judgements] == [TEXTS[text] for _, text, _ in jobs]
    assert [item.verdict.seed for item in judgements] == [seeds[0] for _, _, seeds in jobs]
    assert sorted(credited) == sorted((seeds[0], text) for _, text, seeds in jobs)
    stats = farm.stats()
    assert (stats.num_judged, stats.num_failed, stats.num_running) == (len(jobs), 0, 0)
    assert stats.num_workers_lost >= 2
    assert "tool_error" not in stats.outcomes


@pytest.mark.tool
@pytest.mark.slow
def test_a_running_cluster_is_found_by_auto_and_left_running(farm):
    with connect("auto", FarmSettings(num_workers=1, isolation="rlimits")) as other:
        assert isinstance(other, RayFarm)
        assert other.isolation == "rlimits"
    assert ray.is_initialized()
    assert farm.submit(PARITY, GOLDEN, (99,)).result(timeout=60).verdict.passed


class FakeWorker:
    """Stands for an actor: dies of each group that holds a poison, waits where it is told to."""

    identity = {"isolation": "rlimits"}  # noqa: RUF012
    pid = 1
    poisons: tuple[str, ...] = ()
    asked: list[tuple[str, ...]] = []  # noqa: RUF012
    gate = threading.Event()

    def __init__(self, settings: FarmSettings) -> None:
        self.is_killed = threading.Event()

    def judge(self, group: GroupJob, *, wall_s: float) -> list[Judgement]:
        self.asked.append(group.completion_texts)
        while not self.gate.wait(0.01):
            if self.is_killed.is_set():
                raise ActorLost("killed")
        if set(self.poisons) & set(group.completion_texts):
            raise ActorLost("died of a poison")
        verdict = Verdict(outcome=Outcome.PASSED, stage=Stage.COMPARE, seed=group.seeds[0])
        return [Judgement(candidate=None, verdict=verdict) for _ in group.completion_texts]

    def close(self) -> None: ...

    def kill(self) -> None:
        self.is_killed.set()


@contextmanager
def fake_cluster(monkeypatch, *, poisons: tuple[str, ...] = (), is_open: bool = True, kind: type = FakeWorker):
    monkeypatch.setattr(ray_farm_module, "_connect", lambda address: False)
    monkeypatch.setattr(ray_farm_module, "RayWorker", kind)
    monkeypatch.setattr(FakeWorker, "poisons", poisons)
    monkeypatch.setattr(FakeWorker, "asked", [])
    monkeypatch.setattr(FakeWorker, "gate", threading.Event())
    if is_open:
        FakeWorker.gate.set()
    with RayFarm("ray", FarmSettings(num_workers=1)) as farm:
        yield farm


def test_a_job_that_no_actor_survives_is_no_reward_and_does_not_take_its_group_along(monkeypatch):
    with fake_cluster(monkeypatch, poisons=("poison",), is_open=False) as farm:
        futures = [farm.submit(PARITY, "first", (1,))]
        wait_for(lambda: FakeWorker.asked)
        futures += [farm.submit(PARITY, text, (1,)) for text in ("poison", "b", "c")]
        FakeWorker.gate.set()
        outcomes = [future.result(20).verdict.outcome for future in futures]
        stats = farm.stats()
    assert outcomes == [Outcome.PASSED, Outcome.TOOL_ERROR, Outcome.PASSED, Outcome.PASSED]
    assert FakeWorker.asked.count(("poison", "b", "c")) == 2
    assert FakeWorker.asked.count(("poison",)) == 2
    assert stats.num_workers_lost == 4
    assert stats.num_judged == 4


def test_closing_fails_what_is_not_judged_and_asks_nobody_again(monkeypatch):
    with fake_cluster(monkeypatch, is_open=False) as farm:
        running, waiting = (farm.submit(PARITY, text, (1,)) for text in ("a", "b"))
        wait_for(lambda: FakeWorker.asked)
        started = time.monotonic()
        farm.close()
        assert time.monotonic() - started < 5
        for future in (running, waiting):
            assert isinstance(future.exception(), InfrastructureError)
        with pytest.raises(InfrastructureError, match="closed"):
            farm.submit(PARITY, "c", (1,))
    assert len(FakeWorker.asked) == 1


def test_nodes_that_differ_are_refused_by_name(monkeypatch):
    class Mixed(FakeWorker):
        versions = iter(["11.0", "12.0", "12.0"])

        def __init__(self, settings: FarmSettings) -> None:
            super().__init__(settings)
            self.identity = {"isolation": "rlimits", "vvp": next(self.versions)}

    with fake_cluster(monkeypatch, poisons=("poison",), kind=Mixed) as farm:
        error = farm.submit(PARITY, "poison", (1,)).exception(20)
    assert isinstance(error, InfrastructureError)
    assert "'vvp': '12.0'}, another {'isolation': 'rlimits', 'vvp': '11.0'}" in str(error)


def test_equal_jobs_under_way_share_one_future(monkeypatch):
    with fake_cluster(monkeypatch, is_open=False) as farm:
        first, second, other = (farm.submit(PARITY, text, (1,)) for text in ("a", "a", "b"))
        assert first is second
        assert first is not other
        FakeWorker.gate.set()
        assert farm.judge_all([(PARITY, "a", (2,))])[0].verdict.seed == 2
        assert farm.stats().num_shared == 1


def test_a_cluster_that_cannot_start_a_worker_is_told_at_once(monkeypatch):
    class Stillborn(FakeWorker):
        num_tried = 0

        def __init__(self, settings: FarmSettings) -> None:
            Stillborn.num_tried += 1
            raise ActorLost("no disk")

    with pytest.raises(InfrastructureError, match="no worker can be started on the Ray cluster: no disk"):
        fake_cluster(monkeypatch, kind=Stillborn).__enter__()
    assert Stillborn.num_tried == 3


def test_without_a_cluster_auto_is_told_so_and_connect_takes_this_machine(monkeypatch):
    def no_cluster(**arguments):
        raise ConnectionError("nothing is running")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", no_cluster)
    with pytest.raises(NoCluster, match="no Ray cluster answers at auto"):
        RayFarm("auto", FarmSettings())
    with pytest.raises(NoCluster, match="ray start --head"):
        connect("ray://127.0.0.1:9", FarmSettings())


@pytest.mark.tool
def test_without_a_cluster_auto_is_this_machine(monkeypatch):
    def no_cluster(**arguments):
        raise ConnectionError("nothing is running")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", no_cluster)
    with connect("auto", FarmSettings(num_workers=1, isolation="rlimits")) as farm:
        assert type(farm).__module__ == "verifiers.farm"


def test_a_job_without_seeds_is_refused(monkeypatch):
    with fake_cluster(monkeypatch) as farm, pytest.raises(UsageError, match="at least one seed"):
        farm.submit(PARITY, GOLDEN, ())
