"""Methods inside the training loop on a tiny model: presets, rounds, truncation, corrections, controls, self-tests."""

import json
import math
import zlib
from concurrent.futures import Future
from pathlib import Path

import pytest
import torch
from fake_farm import FakeFarm
from safetensors.torch import load_file

from earl.config import OverlongConfig, config_from_dict, load_config
from earl.hooks import Hooks
from earl.methods import check_methods
from earl.metrics import is_of_machine
from earl.problem_stream import ProblemStream
from earl.reward import overlong_penalty
from earl.run_folder import RunFolder
from earl.step_metrics import rule_name
from earl.train import train
from verifiers.farm_stats import FarmStats
from verifiers.judgement import Judgement
from verifiers.seeds import EVAL_SEEDS
from verifiers.types import Candidate, Outcome, Problem, ReferenceOracle, Stage, Verdict

pytestmark = pytest.mark.usefixtures("one_thread")

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.toml"))
PROBLEMS = [
    Problem(
        problem_id=f"p{number}",
        source="test",
        prompt=f"assign y = a{number}",
        top_module="TopModule",
        ports=None,
        oracle=ReferenceOracle(golden="", golden_top="TopModule"),
        family="f",
    )
    for number in range(8)
]
OUTCOMES = (Outcome.PASSED, Outcome.MISMATCH, Outcome.SYNTAX_ERROR)


def _by_checksum(text: str) -> Outcome:
    return OUTCOMES[zlib.crc32(text.encode()) % 3]


class ProblemFarm:
    """Judges by problem, text and seeds; keeps what it was asked."""

    def __init__(self, outcome_of) -> None:
        self._outcome_of, self.asked = outcome_of, []

    def submit(self, problem, text, seeds):
        self.asked.append((problem.problem_id, seeds))
        future: Future[Judgement] = Future()
        verdict = Verdict(outcome=self._outcome_of(problem, text, seeds), stage=Stage.COMPARE, seed=seeds[0])
        future.set_result(Judgement(candidate=Candidate(text=text), verdict=verdict))
        return future

    def stats(self):
        return FarmStats(num_workers=1, num_queued=0, num_running=0, max_queued=1)


def _config(tiny_policy, tmp_path, name, **sections):
    values = {
        "run": {"dir": str(tmp_path), "name": name},
        "model": {"path": str(tiny_policy), "dtype": "float32"},
        "sampling": {"max_tokens": 12},
        "train": {"num_steps": 1, "num_problems": 2, "group_size": 4, "learning_rate": 1e-3, "checkpoint_every": 0},
    }
    for section, table in sections.items():
        values[section] = values.get(section, {}) | table
    return config_from_dict(values, origin="test")


def _train(config, farm=None, **options):
    run = RunFolder.create(config, default_name="x")
    result = train(config, run, PROBLEMS, farm or FakeFarm(_by_checksum), **options)
    return run, load_file(result.checkpoint.folder / "model.safetensors")


def _metrics(run):
    return [json.loads(line) for line in run.metrics_path.read_text().splitlines()]


def _rows(run, step=1):
    return [json.loads(line) for line in run.completions_path(step).read_text().splitlines()]


def _distance(weights, others):
    return max(float((weights[name] - others[name]).abs().max()) for name in weights)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_preset_trains(path, tiny_policy, tmp_path):
    settings = {
        "run.dir": str(tmp_path),
        "run.name": "run",
        "model.path": str(tiny_policy),
        "model.dtype": "float32",
        "sampling.max_tokens": 12,
        "train.num_steps": 1,
        "train.num_problems": 4,
        "train.group_size": 4,
        "train.checkpoint_every": 0,
        "reward.overlong.buffer": 6,
    }
    config = load_config(path, tuple(f"{key}={value}" for key, value in settings.items()))
    check_methods(config)
    run, after = _train(config, ProblemFarm(lambda problem, text, seeds: _by_checksum(text)))
    (row,) = _metrics(run)
    assert all(math.isfinite(value) for value in row.values())
    assert 0 < row["gate/kept_fraction"] <= 1
    assert 0 < _distance(load_file(tiny_policy / "model.safetensors"), after) < 0.01


def test_an_entropy_gate_of_everything_is_exactly_the_open_gate(tiny_policy, tmp_path):
    ends = []
    for name, gate in (("open", {"name": "open"}), ("all", {"name": "entropy", "params": {"fraction": 1.0}})):
        ends.append(_train(_config(tiny_policy, tmp_path, name, gate=gate))[1])
    assert _distance(*ends) == 0.0


@pytest.mark.parametrize("name", ["ppo_clip", "gspo", "cispo"])
def test_the_cut_into_micro_batches_changes_nothing(tiny_policy, tmp_path, name):
    ends = []
    for tokens in (16, 4096):
        gate = {"name": "entropy", "params": {"scope": "batch", "fraction": 0.3}}
        train = {"micro_batch_tokens": tokens, "num_problems": 4}
        loss = {"name": name, "correction": "sequence"}
        advantage = {"name": "reinforce_pp_baseline"}
        config = _config(
            tiny_policy,
            tmp_path,
            f"m{tokens}",
            gate=gate,
            train=train,
            loss=loss,
            advantage=advantage,
            kl={"beta": 0.1},
        )
        run, weights = _train(config)
        ends.append((_metrics(run)[0]["grad_norm"], _metrics(run)[0]["loss"], weights))
    assert ends[0][:2] == pytest.approx(ends[1][:2], rel=1e-4, abs=1e-6)


def _flat_but_for(names):
    """Only the problems named have rewards that differ; the others always pass."""
    return ProblemFarm(
        lambda problem, text, seeds: _by_checksum(text) if problem.problem_id in names else Outcome.PASSED
    )


def test_groups_without_variance_are_replaced_by_other_problems(tiny_policy, tmp_path):
    groups = {"filter": "variance", "max_rounds": 9}
    farm = _flat_but_for({"p3", "p5", "p6"})
    run, _ = _train(_config(tiny_policy, tmp_path, "run", groups=groups), farm)
    (row,) = _metrics(run)
    rows = _rows(run)
    assert row["groups/kept"] == 2.0
    assert {r["problem_id"] for r in rows if "token_ids" in r} <= {"p3", "p5", "p6"}
    assert len(rows) == 4 * row["groups/sampled"] == len(farm.asked)
    sampled = {r["problem_id"] for r in rows}
    assert len(sampled) == row["groups/sampled"]  # no problem twice
    trained = [r for r in rows if "token_ids" in r]
    assert len(trained) == 8


@pytest.mark.parametrize(("max_rounds", "sampled"), [(0, 2), (1, 4), (2, 6), (50, 8)])
def test_rounds_are_bounded_and_a_step_without_groups_changes_nothing(tiny_policy, tmp_path, max_rounds, sampled):
    groups = {"filter": "variance", "max_rounds": max_rounds}
    run, after = _train(_config(tiny_policy, tmp_path, "run", groups=groups), _flat_but_for(()))
    (row,) = _metrics(run)
    assert (row["groups/sampled"], row["groups/kept"], row["frac_reward_zero_std"]) == (sampled, 0.0, 1.0)
    assert _distance(load_file(tiny_policy / "model.safetensors"), after) == 0.0


def test_a_filtered_group_leaves_the_denominators(tiny_policy, tmp_path):
    first = ProblemStream(problems=tuple(PROBLEMS), batch_size=2, seed=0).batch(1)[0][0].problem_id
    ends = []
    for name in ("none", "variance"):
        config = _config(tiny_policy, tmp_path, name, groups={"filter": name}, gate={"name": "open"})
        run, _ = _train(config, _flat_but_for({first}))
        ends.append((_metrics(run)[0]["grad_norm"], sum(len(row.get("token_ids", ())) for row in _rows(run))))
    (whole, num_tokens), (filtered, num_kept) = ends
    assert 0 < num_kept < num_tokens
    assert filtered == pytest.approx(whole * num_tokens / num_kept, rel=1e-4)


def test_the_overlong_penalty_by_hand():
    config = OverlongConfig(buffer=4, penalty=0.5)
    assert [overlong_penalty(n, 12, config) for n in (1, 8, 9, 10, 12)] == [0.0, 0.0, 0.125, 0.25, 0.5]
    assert overlong_penalty(12, 12, OverlongConfig()) == 0.0


@pytest.fixture(scope="module")
def stopping_policy(tmp_path_factory, tiny_policy):
    """A tiny policy that often stops within a few tokens: its stop token's embedding points where states do."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("stopping") / "policy"
    model = AutoModelForCausalLM.from_pretrained(tiny_policy)
    with torch.no_grad():
        hidden = model.model(torch.arange(40)[None]).last_hidden_state[0].mean(dim=0)
        model.model.embed_tokens.weight[0] = hidden / hidden.norm() * 2
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_policy).save_pretrained(folder)
    return folder


def test_masked_completions_count_in_their_group_but_do_not_train(stopping_policy, tmp_path):
    ends = {}
    for name in ("judged", "masked", "zero"):
        config = _config(stopping_policy, tmp_path, name, reward={"truncated": name}, train={"group_size": 8})
        ends[name] = _rows(_train(config)[0])
    cut = [row["finish_reason"] == "length" for row in ends["judged"]]
    assert 0 < sum(cut) < len(cut), "the policy must both stop and not stop"
    for judged, masked, is_cut in zip(ends["judged"], ends["masked"], cut, strict=True):
        assert ("token_ids" in masked) is not is_cut
        if not is_cut:
            assert masked["advantage"] == judged["advantage"]
            assert masked["token_ids"] == judged["token_ids"]
    # Rewarded 0, a cut completion stands worse in its group than before, or as badly.
    assert any(
        zero["advantage"] != judged["advantage"] for zero, judged in zip(ends["zero"], ends["judged"], strict=True)
    )
    for zero, judged, is_cut in zip(ends["zero"], ends["judged"], cut, strict=True):
        if is_cut and judged["reward"] > 0:
            assert zero["advantage"] <= judged["advantage"]


def test_a_step_in_which_all_is_masked_changes_nothing(tiny_policy, tmp_path):
    config = _config(tiny_policy, tmp_path, "run", reward={"truncated": "masked"}, sampling={"max_tokens": 2})
    run, after = _train(config)
    assert {row["finish_reason"] for row in _rows(run)} == {"length"}
    assert _distance(load_file(tiny_policy / "model.safetensors"), after) == 0.0


@pytest.mark.parametrize("level", ["token", "sequence"])
def test_a_correction_of_an_agreeing_sampler_changes_nothing(tiny_policy, tmp_path, level):
    ends = {}
    for correction in ("none", level):
        config = _config(tiny_policy, tmp_path, correction, loss={"correction": correction}, gate={"name": "open"})
        run, _ = _train(config)
        ends[correction] = _metrics(run)[0]
    # The loss is 0 but for rounding: advantages add up to 0 in a group and every ratio is 1.
    assert ends[level]["loss"] == pytest.approx(ends["none"]["loss"], abs=1e-5)
    assert ends[level]["grad_norm"] == pytest.approx(ends["none"]["grad_norm"], rel=1e-3)
    assert (ends[level]["sampler/truncated_fraction"], ends[level]["ratio/max"]) == (0.0, pytest.approx(1.0, abs=1e-6))
    assert abs(ends[level]["sampler/kl"]) < 1e-8


@pytest.mark.parametrize("loss", ["ppo_clip", "gspo", "cispo"])
def test_at_learning_rate_zero_every_update_stays_at_ratio_one(tiny_policy, tmp_path, loss):
    train = {"learning_rate": 0.0, "num_minibatches": 2, "num_steps": 2}
    run, _ = _train(_config(tiny_policy, tmp_path, "run", loss={"name": loss}, train=train, gate={"name": "open"}))
    for row in _metrics(run):
        assert (row["ratio/min"], row["ratio/mean"], row["ratio/max"]) == pytest.approx((1.0, 1.0, 1.0), abs=1e-4)
        assert abs(row["sampler/kl"]) < 1e-8
        assert row["grad_norm"] > 0


def test_the_second_update_of_a_step_is_off_policy(tiny_policy, tmp_path):
    run, _ = _train(_config(tiny_policy, tmp_path, "run", train={"num_minibatches": 2, "learning_rate": 1e-2}))
    (row,) = _metrics(run)
    assert row["ratio/max"] > 1.001  # of the second update
    assert row["sampler/log_ratio_abs_max"] < 1e-4  # of the first


def test_random_rewards_are_coins(tiny_policy, tmp_path):
    run, _ = _train(_config(tiny_policy, tmp_path, "run", reward={"control": "random"}, train={"num_problems": 8}))
    rewards = [row["reward"] for row in _rows(run)]
    assert set(rewards) == {0.0, 1.0}
    assert 6 <= sum(rewards) <= 26  # of 32; outside once in ten thousand


def test_passes_are_judged_again_under_the_evaluation_seeds(tiny_policy, tmp_path):
    farm = ProblemFarm(
        lambda problem, text, seeds: (
            Outcome.MISMATCH if seeds == EVAL_SEEDS and "0" in problem.problem_id else Outcome.PASSED
        )
    )
    lines = []
    signs = {"recheck_every": 2, "recheck_passes": 6}
    config = _config(tiny_policy, tmp_path, "run", log={"signs": signs}, train={"num_steps": 4, "num_problems": 8})
    run, _ = _train(config, farm, hooks=Hooks(warn=lines.append))
    gaps = [row.get("cheat/recheck_gap") for row in _metrics(run)]
    rechecked = [name for name, seeds in farm.asked if seeds == EVAL_SEEDS]
    # Six of the eight groups' first passes; the batch holds all eight problems, p0 is among the six or is not.
    assert [gap is not None for gap in gaps] == [False, True, False, True]
    assert len(rechecked) == 12
    assert [gaps[1], gaps[3]] == [rechecked[:6].count("p0") / 6, rechecked[6:].count("p0") / 6]
    assert any("fail under other stimulus" in line for line in lines) == ("p0" in rechecked)
    journalled = (run.path / "verdicts.jsonl").read_text().splitlines()
    assert len(journalled) == len({json.loads(line)["key"] for line in journalled}) <= len(farm.asked) - 12


def test_pass_rates_and_a_moving_reference_survive_an_interruption(tiny_policy, tmp_path):
    sections = {
        "problems": {"order": "adaptive"},
        "kl": {"beta": 0.05, "reference": "ema", "params": {"decay": 0.5}},
        "train": {"num_steps": 4},
    }
    whole, weights = _train(_config(tiny_policy, tmp_path, "whole", **sections))
    config = _config(tiny_policy, tmp_path, "broken", **sections)
    run = RunFolder.create(config, default_name="x")
    done = []
    hooks = Hooks(should_stop=lambda: len(done) == 2, on_step=lambda *arguments: done.append(None))
    train(config, run, PROBLEMS, FakeFarm(_by_checksum), hooks=hooks)
    result = train(config, run, PROBLEMS, FakeFarm(_by_checksum), is_resumed=True)
    assert _distance(weights, load_file(result.checkpoint.folder / "model.safetensors")) == 0.0
    strip = lambda rows: [{k: v for k, v in row.items() if not is_of_machine(k)} for row in rows]  # noqa: E731
    assert strip(_metrics(run)) == strip(_metrics(whole))


def test_parquet_holds_the_rows_of_the_json_lines(tiny_policy, tmp_path):
    pytest.importorskip("pyarrow")
    from earl.report.run_data import read_completions

    rows = {}
    for suffix in ("jsonl", "parquet"):
        run, _ = _train(_config(tiny_policy, tmp_path, suffix, log={"completions": suffix}))
        rows[suffix] = read_completions(run.completions_path(1, suffix))
    for row, other in zip(rows["jsonl"], rows["parquet"], strict=True):
        assert other.pop("entropies") == pytest.approx(row.pop("entropies"), abs=1e-4)
        row["text"] = row["text"].encode("utf-8", "backslashreplace").decode()
        assert row == other


@pytest.mark.parametrize(
    ("message", "name"),
    [
        ("'$display' is not allowed in a design; remove the call", "system_name"),
        ("procedural force statement is not allowed: it overrides", "procedural_force_statement"),
        ("the hierarchical name 'tb.errors' leads out of the design; remove it", "hierarchical_name"),
        ("'ä' is not ASCII; outside comments only ASCII is allowed", "text"),
        ("'`include' is neither an allowed directive nor a macro defined above; write the code out", "directive"),
        ("the character U+00B5 is not allowed in a design", "character_u"),
        ("a carriage return without a line feed is not allowed in a design", "carriage_return_without"),
        ("the escaped identifier '\\a force b ' is not allowed; use a plain name", "escaped_identifier"),
    ],
)
def test_a_rule_of_the_screen_has_a_name_without_the_candidates_words(message, name):
    assert rule_name(message) == name
