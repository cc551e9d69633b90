"""`earl plan` of runs with rollout workers: memory, disk and time by hand, and what contradicts itself."""

import json

import pytest

from earl.config import config_from_dict
from earl.plan import checks, duration
from earl.plan.disk import estimate_disk
from earl.plan.document import make_plan
from earl.plan.duration import Duration, estimate_duration
from earl.plan.memory import Memory, estimate_memory, num_judges
from earl.plan.model_shape import read_shape
from earl.plan.work import count_work

PROGRAM = 1_000_000


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """Four cores that multiply 100 GFLOP/s, so that no test measures or depends on the real ones."""
    monkeypatch.setattr(duration, "gemm_flops", lambda *shape_and_dtype: 1e11)
    for module in (checks, duration):
        monkeypatch.setattr(module, "num_cores", lambda: 4)


def _config(tiny_policy, rollout, **sections):
    sections = {"run": {"num_threads": 1}, "train": {"num_problems": 8, "group_size": 4}} | sections
    model = {"path": str(tiny_policy), "dtype": "float32"}
    return config_from_dict({"model": model, "rollout": rollout} | sections, origin="test")


def _memory(config) -> Memory:
    return estimate_memory(config, read_shape(config), count_work(config, [20] * 16), program_bytes=PROGRAM)


def test_each_worker_has_a_program_weights_and_what_sampling_its_share_takes(tiny_policy):
    """Of 8 groups three workers take at most 3 each: keys and values of 3 prompts and 12 rows, logits of 12 rows."""
    alone = _memory(_config(tiny_policy, {}))
    memory = _memory(_config(tiny_policy, {"num_workers": 3}))
    of_position = 2 * 4 * 2 * 2 * 8
    kv_cache = of_position * (3 * 32 + 12 * 192)  # completions of up to 192 tokens
    logits = 4 * 12 * read_shape(_config(tiny_policy, {})).vocabulary
    of_each = PROGRAM + memory.masters + alone.sampler_copy + max(kv_cache + logits, memory.gradients)
    assert memory.workers == 3 * of_each
    assert (memory.sampler_copy, memory.kv_cache, memory.sampling_logits) == (0, 0, 0)  # the trainer does not sample
    assert memory.training == alone.training + 3 * of_each + memory.judges - alone.judges
    assert memory.peak == memory.training


@pytest.mark.parametrize(
    ("rollout", "verifier", "number"),
    [
        ({}, {}, 2),
        ({}, {"num_workers": 5}, 5),
        ({"num_workers": 2}, {"num_workers": 5}, 5 + 2 * 2),
        ({"num_workers": 3}, {"num_workers": 2}, 2 + 3 * 1),
        ({"num_workers": 3, "is_local": False}, {}, 2),
        ({"num_workers": 3}, {"address": "http://127.0.0.1:1"}, 0),
    ],
)
def test_a_farm_has_its_workers_in_trainer_and_rollout_workers(tiny_policy, rollout, verifier, number):
    config = _config(tiny_policy, rollout, verifier=verifier)
    assert num_judges(config) == number
    assert _memory(config).judges == 82_000_000 * number


def test_workers_of_other_machines_take_nothing_here(tiny_policy):
    memory = _memory(_config(tiny_policy, {"num_workers": 3, "is_local": False}))
    assert memory.workers == memory.sampler_copy == 0


def test_on_the_free_schedule_a_worker_samples_one_group_at_a_time(tiny_policy):
    work = count_work(_config(tiny_policy, {"num_workers": 2, "schedule": "free"}), [20] * 16)
    assert work.largest_draw == 1
    assert count_work(_config(tiny_policy, {"num_workers": 2}), [20] * 16).largest_draw == 4
    assert count_work(_config(tiny_policy, {}), [20] * 16).largest_draw == 8


@pytest.mark.parametrize(("rank", "schedule", "of_checkpoint"), [(0, "fixed", 4), (0, "free", 2), (2, "fixed", 4)])
def test_checkpoints_hold_older_weights_and_more_are_published(tiny_policy, tmp_path, rank, schedule, of_checkpoint):
    """With a staleness of 2, in units of the trained weights: own, 2 older on the fixed schedule, AdamW 2."""
    if rank:
        pytest.importorskip("peft")
    rollout = {"num_workers": 1, "max_staleness": 2, "schedule": schedule}
    config = _config(tiny_policy, rollout, lora={"rank": rank}, run={"dir": str(tmp_path)})
    shape = read_shape(config)
    disk = estimate_disk(config, shape)
    assert disk.checkpoint == 4 * shape.num_trainable * (1 + of_checkpoint)
    assert disk.published == 4 * shape.num_trainable * 4  # three that are sampled from, and one being written
    assert disk.total == disk.num_checkpoints * disk.checkpoint + disk.published


def _seconds(**values):
    times = {"sample_s": 6.0, "judge_s": 2.0, "train_s": 5.0, "source": "", "is_measured": True, "assumed": ()}
    return Duration(**times | {"num_samplers": 1, "is_overlapped": False} | values).step_s


def test_a_step_takes_the_longer_of_what_goes_on_at_once():
    assert _seconds() == 13.0
    assert _seconds(num_samplers=2) == 9.0
    assert _seconds(is_overlapped=True) == 8.0
    assert _seconds(num_samplers=2, is_overlapped=True) == 5.0


@pytest.mark.parametrize(
    ("rollout", "num_threads", "expected"),
    [
        ({}, 4, (1, False)),
        ({"num_workers": 2}, 2, (2, False)),  # in turns with the trainer: two processes of two threads
        ({"num_workers": 2, "max_staleness": 1}, 2, (1, False)),  # six threads on four cores: nothing is gained
        ({"num_workers": 3, "max_staleness": 1}, 1, (3, True)),
        ({"num_workers": 8, "max_staleness": 1, "is_local": False}, 4, (8, True)),
    ],
)
def test_processes_share_the_time_out_only_where_each_has_its_cores(tiny_policy, rollout, num_threads, expected):
    config = _config(tiny_policy, rollout, run={"num_threads": num_threads, "dir": "/no/such/runs"})
    time = estimate_duration(config, read_shape(config), count_work(config, [20] * 16))
    assert (time.num_samplers, time.is_overlapped) == expected


def test_a_run_with_as_many_workers_gives_the_time_and_one_without_does_not(tiny_policy, tmp_path):
    rates = {"perf/sampled_tokens_per_s": 100.0, "perf/judge_s": 2.0, "perf/train_s": 8.0}
    row = {"step": 1, "num_tokens": 640.0, "completions/mean_length": 50.0, **rates}
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    rollout = {"num_workers": 2, "max_staleness": 1}
    config = _config(tiny_policy, rollout, run={"num_threads": 4, "dir": str(tmp_path)})
    text = f'[model]\npath = "{tiny_policy}"\ndtype = "float32"\n[run]\nnum_threads = 4\n'
    for saved, is_measured in ((text, False), (text + "[rollout]\nnum_workers = 2\n", True)):
        (tmp_path / "a" / "config.toml").write_text(saved)
        time = estimate_duration(config, read_shape(config), count_work(config, [20] * 16))
        assert time.is_measured == is_measured
    # 32 completions of 50 tokens are 1,600: 16 s at 100 a second and 5 s of judging, by two; 20 s of training.
    assert (time.sample_s, time.judge_s, time.train_s) == pytest.approx((16.0, 5.0, 20.0))
    assert time.step_s == pytest.approx(20.0)


@pytest.mark.parametrize(
    ("rollout", "sections", "message"),
    [
        ({"schedule": "free", "is_local": False}, {}, "rollout.is_local, rollout.schedule without effect"),
        ({"num_workers": 2, "max_staleness": 1}, {"run": {"num_threads": 2}}, "compute with 6 threads at once on 4"),
        ({"num_workers": 9}, {}, "rollout.num_workers = 9 share the train.num_problems = 8 groups"),
        ({"num_workers": 1, "max_staleness": 20}, {}, "all of it is sampled from the first weights"),
        ({"num_workers": 1, "max_staleness": 1}, {"loss": {"correction": "none"}}, "nothing is weighed"),
        ({"num_workers": 1, "is_local": False}, {}, "every worker judges on its own machine"),
    ],
)
def test_what_contradicts_the_workers_is_a_warning(tiny_policy, rollout, sections, message):
    findings = list(checks.check_rollout(_config(tiny_policy, rollout, **sections)))
    assert any(message in finding.message and not finding.is_error for finding in findings), findings


@pytest.mark.parametrize("rollout", [{}, {"num_workers": 2}, {"num_workers": 3, "max_staleness": 1}])
def test_what_fits_is_not_warned_of(tiny_policy, rollout):
    assert list(checks.check_rollout(_config(tiny_policy, rollout))) == []


@pytest.mark.parametrize("key", ["sft.files", "eval.files"])
def test_files_that_are_not_there_and_a_staleness_without_workers_are_errors(tiny_policy, tmp_path, key):
    file = tmp_path / "c.toml"
    file.write_text(f'[model]\npath = "{tiny_policy}"\n')
    plan = make_plan(file, (f'{key}=["/no/such.jsonl"]', "rollout.max_staleness=1"))
    for message in ("/no/such.jsonl", "rollout.max_staleness is 1 and rollout.num_workers 0"):
        assert any(message in line for line in plan["errors"]), plan["errors"]
