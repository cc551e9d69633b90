"""Rollout workers: in step with the trainer they change nothing, behind it the run is the same each time."""

import dataclasses
import threading
import zlib
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from asynchronous_runs import OpenFarm, assert_same_end, make_config
from fake_farm import FakeFarm
from hypothesis import given
from hypothesis import strategies as st
from tiny import build_tiny_model
from trainer_runs import PROBLEMS, by_checksum, metrics_of

from earl import checkpoint
from earl.asynchronous import spool as spool_module
from earl.asynchronous import weights, worker
from earl.asynchronous.crew import Crew
from earl.asynchronous.rollouts import WorkerRollouts
from earl.asynchronous.spool import Spool
from earl.asynchronous.task import Failure, Finished, Task, cut
from earl.config import config_from_dict
from earl.engine import make_engine
from earl.farm_wait import FarmLost
from earl.hooks import Hooks
from earl.journal import VerdictJournal
from earl.policy import Policy, load_trainable
from earl.problem_stream import make_source
from earl.rollout import RolloutJudge
from earl.rollout_source import Draw, Sampler
from earl.run_folder import RunFolder
from earl.train import train
from toolchain.errors import InfrastructureError, UsageError
from verifiers.types import Outcome

pytestmark = pytest.mark.usefixtures("one_thread")
_LOADING = threading.Lock()


def _load_policy(*arguments):
    with _LOADING:  # transformers loads one model at a time in a process
        return load_trainable(*arguments)


@contextmanager
def _workers(config, run, monkeypatch, num=1, farm=None):
    """Workers in threads of this process. Yields the list of what they died of."""
    monkeypatch.setattr(worker, "open_judge", lambda *_, **__: farm or OpenFarm(by_checksum))
    monkeypatch.setattr(worker, "load_trainable", _load_policy)
    errors, is_over = [], threading.Event()

    def work(name):
        seen = None
        while not is_over.wait(0.005):
            spool = Spool.newest(run.path / "rollouts")
            if spool is None or spool.folder == seen:
                continue
            try:
                worker.run_worker(spool, name, config, run.path)
            except Exception as error:
                errors.append(error)
                return
            seen = spool.folder

    threads = [threading.Thread(target=work, args=(f"t{number}",)) for number in range(num)]
    for thread in threads:
        thread.start()
    try:
        yield errors
    finally:
        is_over.set()
        for thread in threads:
            thread.join(timeout=60)
    assert not errors, errors


def _train(config, monkeypatch, *, run=None, num=1, hooks=None, farm=None):
    is_resumed, hooks = run is not None, hooks or Hooks()
    run = run or RunFolder.create(config, default_name="x")
    with _workers(config, run, monkeypatch, num, farm) as errors:
        watched = dataclasses.replace(hooks, should_stop=lambda: hooks.should_stop() or bool(errors))
        result = train(config, run, PROBLEMS, FakeFarm(by_checksum), is_resumed=is_resumed, hooks=watched)
    return run, result


def _rarely(text):
    return Outcome.SYNTAX_ERROR if zlib.crc32(text.encode()) % 16 else Outcome.PASSED


@pytest.mark.parametrize("rank", [0, 4])
def test_a_worker_in_step_ends_as_the_trainer_alone(tiny_policy, tmp_path, monkeypatch, rank):
    if rank:
        pytest.importorskip("peft")
    sections = {"groups": {"filter": "variance", "max_rounds": 2}, "lora": {"rank": rank}}
    alone = make_config(tiny_policy, tmp_path, "alone", rollout={"num_workers": 0}, **sections)
    run = RunFolder.create(alone, default_name="x")
    result = train(alone, run, PROBLEMS, FakeFarm(_rarely))
    config = make_config(tiny_policy, tmp_path, "worker", **sections)
    other_run, other = _train(config, monkeypatch, farm=OpenFarm(_rarely))
    assert metrics_of(run) == metrics_of(other_run, "staleness/")
    assert max(row["groups/sampled"] for row in metrics_of(run)) > 2, "no step had a second round"
    assert_same_end(result, other)


def test_on_the_fixed_schedule_nothing_depends_on_who_is_quicker(tiny_policy, tmp_path, monkeypatch):
    runs = []
    for num in (1, 3):
        rollout = {"max_staleness": 1, "num_workers": 2}
        runs.append(_train(make_config(tiny_policy, tmp_path, f"by{num}", rollout=rollout), monkeypatch, num=num))
    assert metrics_of(runs[0][0]) == metrics_of(runs[1][0])
    assert_same_end(runs[0][1], runs[1][1])
    rows = metrics_of(runs[0][0])
    assert [row["staleness/max"] for row in rows] == [0.0, 1.0, 1.0, 1.0]
    assert [row["staleness/mean"] for row in rows] == [0.0, 1.0, 1.0, 1.0]
    assert {row["staleness/dropped_groups"] for row in rows} == {0.0}
    assert rows[2]["sampler/kl"] > 0  # the policy has moved between sampling and training
    assert "sampler/truncated_fraction" in rows[0]  # and is corrected for


@pytest.mark.parametrize("staleness", [1, 2])
def test_an_interrupted_run_behind_the_trainer_ends_as_an_unbroken_one(tiny_policy, tmp_path, monkeypatch, staleness):
    groups = {"filter": "variance", "max_rounds": 2}
    sections = {"rollout": {"max_staleness": staleness}, "problems": {"order": "adaptive"}, "groups": groups}
    farm = OpenFarm(_rarely)
    whole_run, whole = _train(make_config(tiny_policy, tmp_path, "whole", **sections), monkeypatch, farm=farm)
    config = make_config(tiny_policy, tmp_path, "broken", **sections)
    done = []
    hooks = Hooks(should_stop=lambda: len(done) == 2, on_step=lambda *_: done.append(None))
    run, first = _train(config, monkeypatch, hooks=hooks, farm=farm)
    assert first.num_steps == 2
    _, resumed = _train(config, monkeypatch, run=run, farm=farm)
    assert resumed.num_steps == 4
    assert metrics_of(whole_run) == metrics_of(run)
    assert metrics_of(run)[2]["groups/sampled"] > 2  # also the step after the break had a further round
    assert_same_end(whole, resumed)


def test_a_run_killed_between_checkpoints_replays_the_same_steps(tiny_policy, tmp_path, monkeypatch):
    sections = {"rollout": {"max_staleness": 1, "num_workers": 2}, "train": {"num_steps": 6, "checkpoint_every": 2}}
    whole_run, whole = _train(make_config(tiny_policy, tmp_path, "whole", **sections), monkeypatch)

    class Killed(Exception):
        pass

    def kill(step, num_steps, metrics):
        if step == 5:
            raise Killed

    config = make_config(tiny_policy, tmp_path, "killed", **sections)
    run = RunFolder.create(config, default_name="x")
    with pytest.raises(Killed), _workers(config, run, monkeypatch):
        train(config, run, PROBLEMS, FakeFarm(by_checksum), hooks=Hooks(on_step=kill))
    assert checkpoint.newest(run.checkpoints).step == 4
    _, resumed = _train(config, monkeypatch, run=run)
    assert metrics_of(whole_run) == metrics_of(run)
    assert_same_end(whole, resumed)


def test_a_finished_run_that_is_given_more_steps_goes_on(tiny_policy, tmp_path, monkeypatch):
    rollout = {"max_staleness": 2}
    run, _ = _train(make_config(tiny_policy, tmp_path, "run", rollout=rollout, train={"num_steps": 2}), monkeypatch)
    longer = make_config(tiny_policy, tmp_path, "run", rollout=rollout, train={"num_steps": 4})
    _, result = _train(longer, monkeypatch, run=run)
    assert result.num_steps == 4
    assert [row["staleness/max"] for row in metrics_of(run)] == [0.0, 1.0, 0.0, 1.0]  # older weights are gone


def test_a_run_that_goes_on_with_another_staleness_keeps_to_it(tiny_policy, tmp_path, monkeypatch):
    done = []
    hooks = Hooks(should_stop=lambda: len(done) == 2, on_step=lambda *_: done.append(None))
    config = make_config(tiny_policy, tmp_path, "run", rollout={"max_staleness": 2})
    run, _ = _train(config, monkeypatch, hooks=hooks)
    _, result = _train(make_config(tiny_policy, tmp_path, "run"), monkeypatch, run=run)
    assert result.num_steps == 4
    assert [row["staleness/max"] for row in metrics_of(run)] == [0.0, 1.0, 0.0, 0.0]


def test_learning_rate_zero_keeps_ratios_at_one_also_behind_the_trainer(tiny_policy, tmp_path, monkeypatch):
    sections = {"rollout": {"max_staleness": 1}, "train": {"learning_rate": 0.0}, "gate": {"name": "open"}}
    config = make_config(tiny_policy, tmp_path, "still", **sections)
    run, _ = _train(config, monkeypatch)
    for row in metrics_of(run):
        assert row["sampler/log_ratio_abs_max"] < 1e-4
        assert row["sampler/kl"] < 1e-8
        assert row["ratio/min"] == pytest.approx(1.0, abs=1e-4)
        assert row["ratio/max"] == pytest.approx(1.0, abs=1e-4)


def test_the_free_schedule_trains_on_no_group_that_is_too_old(tiny_policy, tmp_path, monkeypatch):
    rollout = {"max_staleness": 1, "num_workers": 2, "schedule": "free"}
    run, result = _train(make_config(tiny_policy, tmp_path, "free", rollout=rollout), monkeypatch, num=2)
    rows = metrics_of(run)
    assert result.num_steps == 4
    assert max(row["staleness/max"] for row in rows) <= 1.0
    assert [row["groups/sampled"] for row in rows] == [2.0] * 4


@pytest.fixture
def parts(tiny_encoder, tiny_policy, tmp_path):
    """The trainer's side alone: what it asks for can be seen, and answered by hand."""

    def make(**rollout):
        config = make_config(tiny_policy, tmp_path, "run", rollout=rollout, train={"num_steps": 9})
        policy = Policy(model=build_tiny_model(len(tiny_encoder.tokenizer)), encoder=tiny_encoder)
        source = WorkerRollouts(config, tmp_path, policy, make_source(PROBLEMS, config), Hooks())
        sampler = Sampler(
            make_engine(policy, config.sampling, dtype="float32"),
            RolloutJudge(FakeFarm(by_checksum), VerdictJournal(tmp_path / "v.jsonl"), config.reward, 0),
            config,
        )
        return source, Spool.newest(tmp_path / "rollouts"), sampler

    return make


def _answer(spool, sampler, version):
    task = spool.claim("hand")
    rollouts = tuple(map(tuple, sampler(task.draw).rollouts))
    spool.finish(
        task, Finished(worker="hand", policy_version=version, rollouts=rollouts, sample_s=1.0, judge_s=1.0, wait_s=1.0)
    )
    return task


def test_workers_are_asked_for_no_more_than_the_staleness_permits(parts):
    source, spool, sampler = parts(max_staleness=2)
    source.publish(0)
    asked = []
    while (task := spool.claim("hand")) is not None:
        asked.append((task.step, task.version))
    assert asked == [(1, 0), (2, 0), (3, 0)]
    spool.release("hand")
    _answer(spool, sampler, 0)
    assert [problem.problem_id for problem in source.first(1).problems] != []
    source.publish(1)
    assert weights.versions(spool.weights) == [0, 1]
    steps = []
    while (task := spool.claim("hand")) is not None:
        steps.append((task.step, task.version))
    assert steps == [(2, 0), (3, 0), (4, 1)]
    source.close()
    assert not spool.is_open


def test_a_group_that_became_too_old_is_dropped_counted_and_sampled_anew(parts):
    source, spool, sampler = parts(max_staleness=1, schedule="free")
    source.publish(0)
    slow = spool.claim("slow")  # one of the four groups of steps 1 and 2
    for step in (1, 2):
        for _ in range(2):
            _answer(spool, sampler, step - 1)
        source.first(step)
        source.publish(step)
    assert source.metrics()["staleness/dropped_groups"] == 0.0
    done = Finished(worker="slow", policy_version=0, rollouts=((),), sample_s=1.0, judge_s=1.0, wait_s=1.0)
    spool.finish(slow, done)  # two versions old
    assert source._fresh() == []
    assert slow.name not in spool.done()
    again = _answer(spool, sampler, 2)
    assert again.name == slow.name
    _answer(spool, sampler, 2)
    assert slow.draw.problems[0] in source.first(3).problems
    source.publish(3)
    assert source.metrics()["staleness/dropped_groups"] == 1.0
    source.close()


def _task(step=1, unit=0, problems=PROBLEMS[:1]):
    return Task(step=step, number=0, unit=unit, version=0, draw=Draw(problems=tuple(problems), epoch=0, seed=step))


def test_a_task_is_claimed_once_first_needed_first(tmp_path):
    spool = Spool.create(tmp_path)
    tasks = [_task(step, unit) for step in (10, 9) for unit in range(20)]
    for task in tasks:
        spool.put(task)
    claimed = {name: [] for name in "ab"}

    def claim(name):
        while (task := spool.claim(name)) is not None:
            claimed[name].append(task)

    threads = [threading.Thread(target=claim, args=(name,)) for name in claimed]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    both = claimed["a"] + claimed["b"]
    assert sorted(task.name for task in both) == sorted(task.name for task in tasks)
    for mine in claimed.values():
        assert [task.name for task in mine] == sorted(task.name for task in mine)
    spool.release("a")
    assert [spool.claim("c") for _ in claimed["a"]] == sorted(claimed["a"], key=lambda task: task.name)


def test_a_silent_claim_goes_to_another_and_a_beating_one_does_not(tmp_path, monkeypatch):
    spool = Spool.create(tmp_path)
    spool.put(_task())
    task = spool.claim("a")
    assert spool.release_silent() == []  # seen for the first time
    monkeypatch.setattr(spool_module, "SILENT_S", 0.0)
    spool.beat(task, "a")
    assert spool.release_silent() == []
    assert spool.claim("b") is None
    assert spool.release_silent() == ["a"]
    assert spool.claim("b") == task
    spool.beat(task, "a")  # which has lost it, and may not mind


def test_a_new_session_ends_that_of_a_trainer_that_died(tmp_path):
    old = Spool.create(tmp_path)
    new = Spool.create(tmp_path)
    assert not old.is_open
    assert Spool.newest(tmp_path).folder == new.folder
    with pytest.raises(FileNotFoundError):
        old.fail("a", Failure(message="", kind="death"))
    assert [path.name for path in tmp_path.iterdir()] == [new.folder.name]


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (FarmLost("the farm burns"), FarmLost),
        (UsageError("a prompt is too long"), UsageError),
        (InfrastructureError("the disk is full"), None),
        (ZeroDivisionError("0"), None),
    ],
)
def test_a_worker_is_started_again_where_that_may_help(tiny_policy, tmp_path, monkeypatch, error, raised):
    spool, warnings, started = Spool.create(tmp_path), [], []
    crew = Crew(spool, make_config(tiny_policy, tmp_path, "run"), tmp_path, warnings.append)
    monkeypatch.setattr(crew, "_start", started.append)
    crew._processes["w0"] = SimpleNamespace(exitcode=3)
    spool.put(_task())
    spool.claim("w0")
    spool.fail("w0", worker.failure_of(error))
    if raised:
        with pytest.raises(raised, match=str(error)):
            crew.check()
        assert started == []
        return
    for number in range(1, 4):
        crew.check()
        assert started == ["w0"] * number
    assert spool.claim("b") == _task()  # what it had claimed is free again
    assert str(error) in warnings[1]
    assert warnings[2] == "the rollout worker w0 died (exit code 3); started again"
    crew.has_finished("w0")
    for _ in range(3):
        crew.check()
    with pytest.raises(InfrastructureError, match=r"w0 died 4 times in a row, last of: exit code 3"):
        crew.check()


@given(st.integers(1, 6), st.integers(1, 9))
def test_the_units_of_a_draw_are_the_draw(num_problems, num_units):
    draw = Draw(problems=tuple(PROBLEMS[:num_problems]), epoch=2, seed=5)
    units = cut(draw, num_units)
    assert sum((unit.problems for unit in units), ()) == draw.problems
    assert len({unit.seed for unit in units}) == len(units) == min(num_units, num_problems)
    assert max(len(unit.problems) for unit in units) - min(len(unit.problems) for unit in units) <= 1
    assert cut(draw, 1) == [draw]


def test_tasks_and_groups_come_back_as_they_went(parts):
    source, _, sampler = parts(max_staleness=1)
    source.publish(0)
    task = next(iter(source._asked.values()))
    assert Task.from_json(task.to_json()) == task
    rollouts = tuple(map(tuple, sampler(task.draw).rollouts))
    finished = Finished(worker="w", policy_version=3, rollouts=rollouts, sample_s=0.1, judge_s=0.2, wait_s=0.3)
    assert Finished.from_json(finished.to_json()) == finished
    assert rollouts[0][0].completion.logprobs[0] < 0
    source.close()


def test_published_weights_are_the_trainers_and_no_other_models(tiny_model, tmp_path, tiny_encoder):
    weights.publish(tmp_path, 7, weights.trained_tensors(tiny_model))
    other = build_tiny_model(len(tiny_encoder.tokenizer), seed=1)
    weights.load(other, weights.read(tmp_path, 7))
    for (name, mine), theirs in zip(tiny_model.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs), name
    with pytest.raises(InfrastructureError, match="version 8"):
        weights.read(tmp_path, 8)
    with pytest.raises(InfrastructureError, match="another model"):
        weights.load(other, {"x": torch.zeros(1)})


def test_staleness_without_workers_is_refused():
    with pytest.raises(UsageError, match=r"set rollout.num_workers to 1 or more"):
        config_from_dict({"rollout": {"max_staleness": 1}}, origin="test")
