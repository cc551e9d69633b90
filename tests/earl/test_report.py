import json
import re
from pathlib import Path

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from earl.cli import main
from earl.config import config_from_dict
from earl.report import write_report
from earl.report.page import render_page
from earl.report.run_data import read_rows, read_run
from earl.report.samples import choose_samples
from earl.report.token_stats import TokenStats
from earl.report.words import verdict
from toolchain.errors import UsageError

HOSTILE = "module TopModule;</pre><script>alert(1)</script>\x1b[31m\u202e\ud800 &amp; endmodule"
SETTINGS = {"model": {"path": "tiny"}, "problems": {"num_problems": 8, "families": ["gates"]}, "run": {"seed": 3}}


def make_run(path: Path) -> Path:
    path.mkdir()
    config = config_from_dict(SETTINGS | {"train": {"num_steps": 2}}, origin="test")
    (path / "config.toml").write_text(tomli_w.dumps(config.model_dump(mode="json")))
    return path


def step_row(step: int, pass_rate: float) -> dict:
    return {
        "step": step,
        "reward": pass_rate,
        "reward_std": 0.1,
        "pass_rate": pass_rate,
        "entropy": 0.3,
        "sim/passed": pass_rate,
        "sim/mismatch": 1 - pass_rate,
        "perf/sample_s": 10.0,
        "perf/judge_s": 5.0,
        "perf/train_s": 15.0,
        "perf/step_s": 30.0,
    }


def rollout(text: str, outcome: str, reward: float, *, step: int = 1, **tokens: list) -> dict:
    return {
        "step": step,
        "problem_id": "gates-x-0",
        "sample": 0,
        "text": text,
        "finish_reason": "stop",
        "outcome": outcome,
        "stage": "compare",
        "message": "<b>bold</b>",
        "num_mismatches": 1,
        "num_samples": 4,
        "seed": 1,
        "reward": reward,
        "reward_parts": {},
        **tokens,
    }


def write_rows(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_evaluation(path: Path, passed: list[int]) -> None:
    scores = [
        {
            "problem_id": f"gates-{number}",
            "family": "gates",
            "difficulty": 1,
            "num_samples": 4,
            "num_passed": count,
            "outcomes": {"passed": count, "mismatch": 4 - count},
            "is_greedy_passed": count > 1,
        }
        for number, count in enumerate(passed)
    ]
    path.write_text(json.dumps(scores))


def make_trained_run(path: Path) -> Path:
    run = make_run(path)
    write_rows(run / "metrics.jsonl", [step_row(1, 0.25), step_row(2, 0.5)])
    return run


def test_the_verdict_gives_gain_interval_minutes_model_and_seed(tmp_path):
    run = make_trained_run(tmp_path / "run")
    # 1/4 and 2/4 before, 3/4 and 4/4 after: both problems gain exactly a half, whichever are drawn.
    write_evaluation(run / "eval_before.json", [1, 2])
    write_evaluation(run / "eval_after.json", [3, 4])
    (run / "summary.json").write_text(json.dumps({"wall_s": {"train": 60.0, "total": 90.0}, "versions": {}}))
    text = verdict(read_run(run))
    assert "raised sampled pass@1 on 2 held-out problems: from 37.5% to 87.5%, +50.0 points" in text
    assert "95% interval +50.0 to +50.0" in text
    assert "Training did 2 steps of 8 problems x 8 completions in 1.0 minutes" in text
    assert "The whole job took 1.5 minutes. Model tiny, seed 3." in text


def test_a_gain_whose_interval_holds_zero_is_not_called_one(tmp_path):
    run = make_trained_run(tmp_path / "run")
    write_evaluation(run / "eval_before.json", [0, 4, 2, 2])
    write_evaluation(run / "eval_after.json", [4, 0, 2, 3])
    text = verdict(read_run(run))
    assert "did not measurably change" in text
    assert "this may be chance" in text


def test_the_page_is_one_file_without_scripts_or_outside_assets(tmp_path):
    run = make_trained_run(tmp_path / "run")
    write_evaluation(run / "eval_before.json", [1, 2])
    write_evaluation(run / "eval_after.json", [3, 4])
    tokens = {"token_ids": [1, 2], "entropies": [0.5, 0.0], "classes": ["number", "stop"], "gate": [1, 0]}
    rows = [rollout("module m; endmodule", "passed", 1.0, advantage=1.0, **tokens)]
    write_rows(run / "completions" / "step_000001.jsonl", rows)
    page = write_report(run).read_text()
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page
    sources = re.findall(r'src="([^"]{0,30})', page)
    assert len(sources) == 3  # curves, outcomes, entropy by class
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert page.count("<td>gates</td>") == 1


def test_a_training_run_without_evaluation_says_so(tmp_path):
    page = render_page(read_run(make_trained_run(tmp_path / "run")))
    assert "25% of rollouts passed in the first steps and 50% in the last" in page
    assert "what this says of unseen ones is unknown" in page
    assert "evaluation before training (`earl demo` writes it); evaluation after" in page
    assert "Before and after" not in page


def test_an_unfinished_run_is_called_unfinished(tmp_path):
    run = make_run(tmp_path / "run")
    write_rows(run / "metrics.jsonl", [step_row(1, 0.25)])
    assert "1 of 2 steps (it is unfinished)" in verdict(read_run(run))


def test_a_run_that_wrote_nothing_yet_has_a_report(tmp_path):
    assert "has written nothing yet" in write_report(make_run(tmp_path / "run")).read_text()


def test_a_warm_start_run_shows_its_loss(tmp_path):
    run = make_run(tmp_path / "run")
    write_rows(run / "metrics.jsonl", [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0}])
    page = render_page(read_run(run))
    assert "from 2.000 to 1.000 nats" in page
    assert "Learning curves" not in page


def test_a_hostile_completion_is_shown_and_does_nothing(tmp_path):
    run = make_trained_run(tmp_path / "run")
    write_rows(run / "completions" / "step_000001.jsonl", [rollout(HOSTILE, "syntax_error", 0.0)])
    page = write_report(run).read_text()
    assert "<script" not in page
    assert "&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&amp;amp;" in page
    assert "&lt;b&gt;bold" in page
    assert not set("\x1b\u202e") & set(page)


def test_without_a_tokenizer_the_text_is_plain_and_the_page_says_so(tmp_path):
    run = make_trained_run(tmp_path / "run")
    tokens = {"token_ids": [1, 2], "entropies": [0.5, 0.0], "classes": ["number", "stop"], "gate": [1, 0]}
    write_rows(run / "completions" / "step_000001.jsonl", [rollout("plain words", "passed", 1.0, **tokens)])
    page = render_page(read_run(run))
    assert ">plain words<" in page
    assert page.count("no checkpoint with a tokenizer") == 2


def test_with_a_tokenizer_tokens_are_shaded_by_entropy_and_underlined_by_the_gate(tmp_path, tiny_encoder):
    run = make_trained_run(tmp_path / "run")
    tiny_encoder.tokenizer.save_pretrained(str(run / "checkpoints" / "step_000002"))
    text = "assign y = a;"
    ids = tiny_encoder.encode_completion(text)
    entropies = [0.0] * len(ids)
    entropies[1] = 1.0  # of 2 nats for the full shade of 0.75
    gate = [int(entropy > 0) for entropy in entropies]
    tokens = {"token_ids": ids, "entropies": entropies, "classes": ["operator"] * (len(ids) - 1) + ["stop"]}
    rows = [rollout(text, "passed", 1.0, gate=gate, **tokens)]
    write_rows(run / "completions" / "step_000001.jsonl", rows)
    page = render_page(read_run(run))
    spans = re.findall(r"<span([^>]*title=[^>]*)>([^<]*)</span>", page)
    assert [piece for _, piece in spans] == [tiny_encoder.decode([token]) for token in ids[:-1]] + ["&lt;end&gt;"]
    assert ["open" in attributes for attributes, _ in spans] == [bool(is_open) for is_open in gate]
    assert "rgba(217, 130, 43, 0.38)" in spans[1][0] or "rgba(217, 130, 43, 0.37)" in spans[1][0]
    assert "background" not in spans[0][0]


def test_a_pass_a_near_miss_and_a_failure_are_chosen_of_both_ends(tmp_path):
    run = make_trained_run(tmp_path / "run")
    for step in (1, 2, 3):
        rows = [
            rollout("far", "mismatch", 0.2, step=step),
            rollout("near", "mismatch", 0.4, step=step),
            rollout("broken", "syntax_error", 0.0, step=step),
            rollout("right", "passed", 1.0, step=step),
            rollout("ours", "tool_error", 0.0, step=step) | {"reward": None},
        ]
        write_rows(run / "completions" / f"step_{step:06d}.jsonl", rows)
    samples = choose_samples(read_run(run), None)
    assert [(sample.row["step"], sample.kind, sample.text) for sample in samples] == [
        (step, *sample)
        for step in (1, 3)
        for sample in (("pass", "right"), ("near miss", "near"), ("failure", "broken"))
    ]


def test_entropy_and_gate_are_summed_by_class_and_by_token():
    stats = TokenStats()
    stats.add({"token_ids": [7, 9, 7], "entropies": [1.0, 0.0, 2.0], "classes": ["a", "b", "a"], "gate": [1, 0, 1]})
    stats.add({"token_ids": [9], "entropies": [0.5], "classes": ["b"], "gate": [1]})
    classes = stats.classes()
    assert list(classes) == ["a", "b"]
    assert (classes["a"].num_tokens, classes["a"].mean_entropy, classes["a"].num_open) == (2, 1.5, 2)
    assert (classes["b"].num_tokens, classes["b"].mean_entropy, classes["b"].open_rate) == (2, 0.25, 0.5)
    assert [(token, tally.mean_entropy) for token, tally in stats.uncertain_tokens(num_tokens=5, min_count=2)] == [
        (7, 1.5),
        (9, 0.25),
    ]
    assert stats.uncertain_tokens(num_tokens=5, min_count=3) == []


def test_the_most_uncertain_half_holds_its_share_of_the_entropy():
    stats = TokenStats()
    row = {"token_ids": [0] * 4, "entropies": [3.0, 1.0, 0.0, 0.0], "classes": ["a"] * 4, "gate": [0] * 4}
    stats.add(row)
    assert stats.entropy_share_of_top(0.25) == pytest.approx(0.75, abs=0.01)
    assert stats.entropy_share_of_top(0.5) == pytest.approx(1.0)
    assert stats.share_below(0.01) == 0.5


ROWS = st.lists(
    st.tuples(st.integers(0, 30), st.floats(0, 12), st.sampled_from("abc"), st.integers(0, 1)), min_size=1, max_size=30
)


@settings(max_examples=40)
@given(rows=st.lists(ROWS, min_size=1, max_size=4))
def test_classes_tile_the_tokens_whatever_the_rows(rows):
    stats = TokenStats()
    for tokens in rows:
        columns = zip(*tokens, strict=True)
        stats.add(dict(zip(("token_ids", "entropies", "classes", "gate"), map(list, columns), strict=True)))
    every = [token for tokens in rows for token in tokens]
    tallies = stats.classes().values()
    assert sum(tally.num_tokens for tally in tallies) == stats.total.num_tokens == len(every)
    assert sum(tally.num_open for tally in tallies) == sum(token[3] for token in every)
    assert stats.total.entropy == pytest.approx(sum(token[1] for token in every))
    shares = [stats.entropy_share_of_top(fraction) for fraction in (0.1, 0.5, 0.9)]
    assert shares == sorted(shares)


def test_a_last_line_that_a_crash_cut_off_is_left_out(tmp_path):
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 1}\n{"step": 2, "rew')
    assert read_rows(file) == [{"step": 1}]


def test_a_damaged_line_is_named(tmp_path):
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"step": 1}\n{"step": \n{"step": 3}\n')
    with pytest.raises(UsageError, match=r"metrics\.jsonl: line 2 is damaged"):
        read_rows(file)


def test_a_folder_that_is_no_run_is_a_usage_error(tmp_path, capsys):
    with pytest.raises(SystemExit) as exit_info:
        main(["report", str(tmp_path)])
    assert exit_info.value.code == 2
    assert "no run folder" in capsys.readouterr().err


def test_the_report_command_prints_the_path_of_what_it_wrote(tmp_path, capsys):
    run = make_trained_run(tmp_path / "run")
    with pytest.raises(SystemExit) as exit_info:
        main(["report", str(run)])
    assert exit_info.value.code == 0
    assert capsys.readouterr().out.strip() == str(run / "report.html")
    assert (run / "report.html").stat().st_size > 10_000
