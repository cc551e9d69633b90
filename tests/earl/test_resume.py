"""What a run may be resumed with, and what a kill leaves behind."""

import dataclasses
import json
import os
import random
import shutil

import numpy
import pytest
import torch
from click.testing import CliRunner
from fake_farm import FakeFarm
from test_train import _assert_same_end
from tiny import build_tiny_model
from trainer_runs import PROBLEMS, by_checksum, make_config, metrics_of

from earl import checkpoint
from earl.cli import cli
from earl.config import Config
from earl.hooks import Hooks
from earl.journal import VerdictJournal
from earl.metrics import MetricsLog
from earl.random_state import RandomState, seed_everything
from earl.resume_check import HARMLESS, differences, identity_of, problem_digests, reopen
from earl.run_folder import RunFolder
from earl.train import train
from toolchain.errors import InfrastructureError, UsageError
from verifiers.judgement import Judgement
from verifiers.types import Outcome, Stage, Verdict

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def policy(tiny_policy, tmp_path_factory):
    return shutil.copytree(tiny_policy, tmp_path_factory.mktemp("policy") / "policy")


@pytest.fixture(scope="module")
def finished(policy, tmp_path_factory):
    """A run of two steps with a checkpoint of each, its config, and where it lies."""
    folder = tmp_path_factory.mktemp("finished")
    config = make_config(policy, folder, "run", train={"num_steps": 2, "checkpoint_every": 1})
    run = RunFolder.create(config, default_name="x")
    train(config, run, PROBLEMS, FakeFarm(by_checksum))
    return run, config


@pytest.fixture
def copied(finished, tmp_path):
    """The same run, free to be changed."""
    run, config = finished
    return RunFolder(shutil.copytree(run.path, tmp_path / "run")), config


def _reopen(run, config, problems=PROBLEMS, *, is_forced=False):
    told = []
    return reopen(run.path, config, problem_digests(problems), is_forced=is_forced, tell=told.append), told


def _changed(config, **sections):
    values = config.model_dump()
    for section, table in sections.items():
        values[section] |= table
    return Config.model_validate(values)


CHANGES = [
    ({"train": {"learning_rate": 0.5}}, "train.learning_rate: 0.001 -> 0.5"),
    ({"gate": {"params": {"fraction": 0.3}}}, "gate.params.fraction: 'none' -> 0.3"),
    ({"reward": {"overlong": {"buffer": 4}}}, "reward.overlong.buffer: 0 -> 4"),
    ({"run": {"seed": 8}}, "run.seed: 0 -> 8"),
]


@pytest.mark.parametrize(("sections", "line"), CHANGES)
def test_another_config_is_refused_with_the_difference_or_forced(copied, sections, line):
    run, config = copied
    other = _changed(config, **sections)
    with pytest.raises(UsageError) as caught:
        _reopen(run, other)
    assert str(caught.value).splitlines()[1:-1] == [f"  {line}"]
    assert "--force-resume" in str(caught.value)
    assert run.config() == config
    assert _reopen(run, other, is_forced=True)[1] == [f"resumed with a change: {line}"]
    assert run.config() == other


def test_a_forced_change_reaches_the_optimiser(copied):
    run, config = copied
    other = _changed(config, train={"num_steps": 3}, optimizer={"weight_decay": 0.25, "params": {"beta2": 0.95}})
    _reopen(run, other, is_forced=True)
    result = train(other, run, PROBLEMS, FakeFarm(by_checksum), is_resumed=True)
    matrices, vectors = torch.load(result.checkpoint.folder / "optimizer.pt", weights_only=True)["param_groups"]
    assert (matrices["weight_decay"], vectors["weight_decay"]) == (0.25, 0.0)
    assert matrices["betas"] == vectors["betas"] == (0.9, 0.95)


def test_a_forced_change_of_the_order_of_problems_is_taken(policy, tmp_path):
    config = make_config(policy, tmp_path, "run", problems={"order": "adaptive"}, train={"num_steps": 1})
    run = RunFolder.create(config, default_name="x")
    train(config, run, PROBLEMS, FakeFarm(by_checksum))
    other = _changed(config, problems={"order": "shuffled"}, train={"num_steps": 2})
    _reopen(run, other, is_forced=True)
    assert train(other, run, PROBLEMS, FakeFarm(by_checksum), is_resumed=True).num_steps == 2


@pytest.mark.parametrize(
    ("sections", "line"),
    [
        ({"lora": {"rank": 2}}, "lora.rank: 0 -> 2"),
        ({"optimizer": {"name": "adamw_8bit"}}, "optimizer.name: 'adamw' -> 'adamw_8bit'"),
    ],
)
@pytest.mark.parametrize("is_forced", [False, True])
def test_what_a_checkpoint_is_made_of_cannot_be_changed_by_force(copied, sections, line, is_forced):
    run, config = copied
    with pytest.raises(UsageError) as caught:
        _reopen(run, _changed(config, **sections), is_forced=is_forced)
    assert str(caught.value).splitlines()[1:] == [
        f"  {line}",
        "its weights and its optimiser's state are made for what it had; start a new run from it:"
        f" model.path={run.checkpoints / 'step_000002'}",
    ]
    assert run.config() == config
    shutil.rmtree(run.checkpoints)
    assert _reopen(run, _changed(config, **sections), is_forced=True)[1] == [f"resumed with a change: {line}"]


def test_what_is_harmless_may_change(copied):
    run, config = copied
    other = _changed(
        config,
        run={"name": "other", "dir": "elsewhere"},
        train={"num_steps": 4, "checkpoint_every": 3, "keep_checkpoints": 7},
        log={"backends": ("tensorboard",), "completions": "parquet"},
        verifier={"address": "http://127.0.0.1:1", "num_workers": 7, "wait_s": 1.0},
        eval={"num_problems": 3},
    )
    assert _reopen(run, other)[1] == []
    assert run.config() == other
    result = train(_changed(config, train={"num_steps": 3}), run, PROBLEMS, FakeFarm(by_checksum), is_resumed=True)
    assert result.num_steps == 3


def test_every_harmless_key_exists():
    values = Config().model_dump()
    for pattern in HARMLESS:
        section, key = pattern.split(".")
        assert key == "*" or key in values[section]


def test_another_number_of_steps_is_not_harmless_where_the_learning_rate_follows_it():
    def config(num_steps, schedule):
        return {"config": {"train": {"num_steps": num_steps}, "optimizer": {"schedule": schedule}}, "model_sha256": ""}

    assert differences(config(4, "constant"), config(8, "constant")) == []
    assert differences(config(4, "cosine"), config(8, "cosine")) == ["train.num_steps: 4 -> 8"]


def test_other_problems_are_refused_by_count_and_first_names(copied):
    run, config = copied
    first, second, *rest = PROBLEMS
    more = [dataclasses.replace(first, problem_id=f"n{number}") for number in range(5)]
    given = [dataclasses.replace(first, prompt="another"), *rest, *more]
    with pytest.raises(UsageError) as caught:
        _reopen(run, config, given)
    assert str(caught.value).splitlines()[1:-1] == [
        "  problems: 5 added (n0, n1, n2, ...)",
        "  problems: 1 removed (p1)",
        "  problems: 1 changed (p0)",
    ]
    assert len(_reopen(run, config, given, is_forced=True)[1]) == 3
    with pytest.raises(UsageError, match="problems: the same in another order"):
        _reopen(run, config, [second, first, *rest])


def test_another_model_at_the_same_path_is_refused(copied, policy):
    run, config = copied
    assert _reopen(run, config)[1] == []
    weights = policy / "model.safetensors"
    before = weights.read_bytes()
    build_tiny_model(300, seed=1).save_pretrained(str(policy))
    try:
        with pytest.raises(UsageError, match="has other weights than it had"):
            _reopen(run, config)
    finally:
        weights.write_bytes(before)


def test_a_moved_model_is_the_same_model(copied, policy, tmp_path):
    run, config = copied
    moved = shutil.copytree(policy, tmp_path / "moved")
    assert _reopen(run, _changed(config, model={"path": str(moved)}))[1] == []


def test_another_version_is_told(copied):
    run, config = copied
    versions = json.loads((run.path / "versions.json").read_text())
    run.write_json("versions.json", versions | {"torch": "1.0"})
    assert _reopen(run, config)[1] == [
        f"resumed with another version, the last bits may differ: torch: 1.0 -> {versions['torch']}"
    ]


def test_a_run_killed_before_its_first_checkpoint_is_checked_and_starts_over(copied, finished):
    run, config = copied
    shutil.rmtree(run.checkpoints)
    with pytest.raises(UsageError, match=r"train\.learning_rate: 0\.001 -> 0\.5"):
        _reopen(run, _changed(config, train={"learning_rate": 0.5}))
    with pytest.raises(UsageError, match=r"problems: 1 removed \(p0\)"):
        _reopen(run, config, PROBLEMS[1:])
    farm = FakeFarm(by_checksum)
    again = train(config, _reopen(run, config)[0], PROBLEMS, farm, is_resumed=True)
    assert farm.num_submitted == 0  # every verdict is in the journal
    whole = dataclasses.replace(again, checkpoint=checkpoint.newest(finished[0].checkpoints))
    _assert_same_end(whole, again)
    assert metrics_of(run) == metrics_of(finished[0])


def test_a_checkpoint_is_gone_back_to_on_request(copied, finished):
    run, config = copied
    chosen = run.checkpoints / "step_000001"
    told = []
    assert reopen(chosen, config, problem_digests(PROBLEMS), is_forced=False, tell=told.append).path == run.path
    assert told == ["going back to step 1; left-step_000002 is what was newer, remove it when it is not needed"]
    assert checkpoint.newest(run.checkpoints).folder == chosen
    steps = []
    hooks = Hooks(on_step=lambda step, num_steps, metrics: steps.append(step))
    again = train(config, run, PROBLEMS, FakeFarm(by_checksum), is_resumed=True, hooks=hooks)
    assert steps == [2]
    whole = dataclasses.replace(again, checkpoint=checkpoint.newest(finished[0].checkpoints))
    _assert_same_end(whole, again)


def test_a_refused_request_to_go_back_moves_nothing(copied):
    run, config = copied
    with pytest.raises(UsageError):
        reopen(
            run.checkpoints / "step_000001", config, problem_digests(PROBLEMS[1:]), is_forced=False, tell=pytest.fail
        )
    assert checkpoint.newest(run.checkpoints).step == 2


def test_the_command_refuses_with_exit_code_two_before_it_starts_anything(copied, policy, tmp_path):
    run, _ = copied
    path = tmp_path / "c.toml"
    path.write_text(f'[model]\npath = "{policy}"\n[problems]\nnum_problems = 8\n')
    result = CliRunner().invoke(cli, ["train", str(path), "--resume", str(run.path)])
    assert isinstance(result.exception, UsageError)
    assert result.exception.exit_code == 2
    assert "sampling.max_tokens: 12 -> 192" in str(result.exception)
    assert "problems: 6 removed (p0, p1, p2, ...)" in str(result.exception)


def test_a_run_of_an_older_layout_is_compared_by_what_it_has():
    config = Config().model_dump(mode="json")
    assert differences({"config": config}, {"config": config, "problems": [["a", "1"]], "model_sha256": "x"}) == []


# What a kill leaves behind.


@pytest.mark.parametrize("tail", ["", '{"step": 3, "rew', '{"step": 3, "reward": 0}\n{"st', '{"step": 4}\n'])
def test_metrics_after_the_checkpoint_are_cut_off_with_the_line_that_a_kill_cut_short(tmp_path, tail):
    path = tmp_path / "metrics.jsonl"
    kept = '{"step": 1}\n{"step": 2}\n'
    path.write_text(kept + tail)
    MetricsLog(path, last_step=2).close()
    assert path.read_text() == kept


def test_a_damaged_row_of_metrics_is_named(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n{"st\x00p": 2}\n{"step": 3}\n')
    with pytest.raises(InfrastructureError, match=r"metrics.jsonl: line 2 is damaged .* remove that line"):
        MetricsLog(path, last_step=3)


def test_journals_of_a_run_learn_from_each_other_and_copy_nothing(tmp_path):
    verdict = Judgement(candidate=None, verdict=Verdict(outcome=Outcome.PASSED, stage=Stage.COMPARE, seed=1))
    paths = [tmp_path / name for name in ("verdicts-w0.jsonl", "verdicts-w1.jsonl", "verdicts.jsonl")]
    first, second, own = (VerdictJournal(path) for path in paths)
    first.put("a", verdict)
    own.put("b", verdict)
    with paths[0].open("a") as file:
        file.write('{"key": "half')  # it is being written
    second.read_others(tmp_path)
    assert [second.get(key) for key in ("a", "b", "half")] == [verdict, verdict, None]
    second.put("a", verdict)
    assert paths[1].read_text() == ""
    row = json.loads(paths[0].read_text().splitlines()[0]) | {"key": "half-past"}
    with paths[0].open("a") as file:
        file.write(json.dumps(row).removeprefix('{"key": "half') + "\n")
    second.read_others(tmp_path)
    assert second.get("half-past") == verdict
    assert second.num_damaged == 0
    for journal in (first, second, own):
        journal.close()


def test_a_damaged_line_of_the_journal_is_judged_again_and_told_of(copied, tmp_path):
    path = tmp_path / "verdicts.jsonl"
    verdict = Judgement(candidate=None, verdict=Verdict(outcome=Outcome.PASSED, stage=Stage.COMPARE, seed=1))
    journal = VerdictJournal(path)
    for key in ("first", "second", "third"):
        journal.put(key, verdict)
    journal.close()
    journal.put("too late", verdict)
    first, _, third = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + b"\x00\xff\x00\n" + b'{"key": "second"}\n' + third + b'{"key": "torn')
    again = VerdictJournal(path)
    assert [again.get(key) for key in ("first", "second", "third", "too late")] == [verdict, None, verdict, None]
    assert again.num_damaged == 2
    again.close()
    run, config = copied
    shutil.copy(path, run.path / "verdicts.jsonl")
    warnings = []
    train(config, run, PROBLEMS, FakeFarm(by_checksum), is_resumed=True, hooks=Hooks(warn=warnings.append))
    assert warnings == ["2 lines of the journal verdicts.jsonl are damaged; these are judged again"]


def test_completions_of_steps_after_the_checkpoint_are_removed(copied):
    run, config = copied
    keep = run.completions_path(2).read_text()
    for name in ("step_000003.jsonl", ".step_000004.jsonl.partial", "step_000012.parquet"):
        (run.completions_folder / name).write_text('{"step": 3, "te')
    train(config, run, PROBLEMS, FakeFarm(by_checksum), is_resumed=True)
    assert sorted(os.listdir(run.completions_folder)) == ["step_000001.jsonl", "step_000002.jsonl"]
    assert run.completions_path(2).read_text() == keep


def test_random_states_go_on_where_they_were():
    def draw():
        return random.random(), numpy.random.rand(), numpy.random.randn(), torch.rand(2).tolist()

    before = RandomState().state_dict()
    try:
        seed_everything(5)
        first = draw()
        saved = RandomState().state_dict()
        second = draw()
        seed_everything(5)
        assert draw() == first
        RandomState().load_state_dict(saved)
        assert draw() == second
        assert first != second
    finally:
        RandomState().load_state_dict(before)


def test_an_identity_is_json():
    identity = identity_of(Config.model_validate({"model": {"path": "owner/name"}}), problem_digests(PROBLEMS))
    assert json.loads(json.dumps(identity)) == identity
    assert [name for name, _ in identity["problems"]] == [problem.problem_id for problem in PROBLEMS]
