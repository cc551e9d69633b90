"""The main job with a tiny policy and the real judge, and what a mistyped command gets."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from tiny import build_tiny_model

from earl.config import config_from_dict
from earl.demo import run_demo
from earl.evaluate import Evaluation, ProblemScore, paired_gain
from earl.jobs import Session
from earl.run_folder import RunFolder
from verifiers.farm import Farm

ROOT = Path(__file__).parents[2]


@pytest.mark.tool
@pytest.mark.slow
def test_warm_start_evaluate_train_evaluate_leaves_a_whole_run_folder(tiny_policy, tmp_path):
    config = config_from_dict(
        {
            "run": {"dir": str(tmp_path), "name": "demo"},
            "model": {"path": str(tiny_policy), "dtype": "float32"},
            "problems": {"families": ["bitwise", "counter"], "levels": [1], "num_problems": 8},
            "sampling": {"max_tokens": 24},
            "sft": {"num_examples": 8, "batch_size": 4},
            "train": {"num_steps": 2, "num_problems": 2, "group_size": 3},
            "eval": {"num_problems": 4, "num_samples": 2},
        },
        origin="test",
    )
    run = RunFolder.create(config, default_name="demo")
    with Farm(num_workers=1) as farm:
        assert run_demo(config, run, farm, Session(console=Console(stderr=True), should_stop=lambda: False))
    summary = json.loads((run.path / "summary.json").read_text())
    for side in ("before", "after"):
        assert {"pass@1", "pass@1_greedy", "pass@2", "num_problems", "n"} <= summary[side].keys()
        assert (summary[side]["num_problems"], summary[side]["n"]) == (4, 2)
    assert len(summary["ci95"]) == 2
    assert set(summary["wall_s"]) == {"warm start", "evaluate before", "train", "evaluate after", "total"}
    assert summary["peak_memory_bytes"] > 100 << 20  # torch alone takes that much
    assert summary["versions"]["iverilog"]
    assert "<html" in (run.path / "report.html").read_text()
    assert len((run.path / "metrics.jsonl").read_text().splitlines()) == 2
    rows = [json.loads(line) for line in run.completions_path(2).read_text().splitlines()]
    assert len(rows) == 6
    assert all(len(row["gate"]) == len(row["token_ids"]) == len(row["entropies"]) for row in rows)


def _evaluation(rates: dict[str, int]) -> Evaluation:
    scores = tuple(
        ProblemScore(
            problem_id=name,
            family="f",
            difficulty=1,
            num_samples=4,
            num_passed=passed,
            outcomes={"passed": passed, "syntax_error": 4 - passed},
            is_greedy_passed=passed > 2,
        )
        for name, passed in rates.items()
    )
    return Evaluation(scores=scores, completions=(), judgements=())


def test_gain_is_paired_over_problems():
    before, after = _evaluation({"a": 0, "b": 2, "c": 4}), _evaluation({"c": 4, "b": 3, "a": 1})
    gain, (low, high) = paired_gain(before, after)
    assert gain == pytest.approx((0.25 + 0.25 + 0.0) / 3)
    assert 0.0 <= low <= gain <= high <= 0.25
    summary = after.summary()
    assert (summary["pass@1"], summary["pass@1_greedy"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert summary["pass@4"] == 1.0
    assert summary["valid"] == pytest.approx(2 / 3)


def _earl(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    code = "from earl.cli import main; main()"
    import os

    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "configs/earl.toml", "train.learning_rat=1"), "did you mean learning_rate?"),
        (("train", "configs/none.toml"), "cannot read the config"),
        (("train", "configs/earl.toml", "problems.families=['bitwize']"), "bitwise"),
        (("train", "configs/earl.toml", "problems.levels=[9]"), "9"),
        (("train", "configs/earl.toml", "gate.name=entropi"), "entropi"),
        (("eval", "configs/earl.toml", "model.path=/no/such/folder"), "no model at /no/such/folder"),
        (("report", "/no/such/run"), "/no/such/run"),
        (("trian",), "No such command"),
    ],
)
def test_bad_input_gets_one_clear_line_and_exit_code_two(arguments, message, tmp_path):
    options = (f"run.dir={tmp_path}",) if arguments[0] in ("train", "eval") else ()
    result = _earl(*arguments, *options)
    assert result.returncode == 2, result.stderr
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_stopped_run_exits_with_code_one(tiny_policy, tmp_path, monkeypatch):
    from earl.cli import main
    from earl.signals import StopRequest

    monkeypatch.setattr(StopRequest, "__enter__", lambda self: setattr(self, "is_set", True) or self)
    with pytest.raises(SystemExit) as exit_info:
        main(
            [
                "sft",
                str(ROOT / "configs/earl.toml"),
                f"model.path={tiny_policy}",
                f"run.dir={tmp_path}",
                "sft.num_examples=40",
                "problems.families=['bitwise']",
            ]
        )
    assert exit_info.value.code == 1
    assert (tmp_path / "sft-001" / "checkpoints" / "step_000001" / "model.safetensors").is_file()


def test_a_model_folder_without_weights_is_named(tmp_path):
    build_tiny_model(300).config.save_pretrained(str(tmp_path / "model"))
    result = _earl("sft", "configs/earl.toml", f"model.path={tmp_path / 'model'}", f"run.dir={tmp_path / 'runs'}")
    assert result.returncode == 2
    assert "has no weights" in result.stderr


def test_a_missing_simulator_is_infrastructure_and_says_how_to_get_it(tmp_path, tiny_policy):
    result = _earl(
        "train", "configs/earl.toml", f"model.path={tiny_policy}", f"run.dir={tmp_path}", EARL_IVERILOG="/no/iverilog"
    )
    assert result.returncode == 3, result.stderr
    assert "iverilog" in result.stderr
    assert "Traceback" not in result.stderr
