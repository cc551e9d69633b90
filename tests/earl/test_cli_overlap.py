"""`earl problems overlap`, and what `earl problems make` and a config keep out of a training set."""

import json

import pytest

from earl import data
from earl.cli import main
from earl.config import Config, EvalConfig, ProblemsConfig, SftConfig
from earl.data import evaluation_problems, training_problems, warm_start_problems
from earl.sft_data import sft_data
from hdl_bench.problem_files import read_problems, write_problems
from toolchain.errors import UsageError

GOLDEN = "module inv(input a, output y);\n  assign y = ~a;\nendmodule\n"
OTHER = "module one(input a, input b, output y);\n  assign y = a & ~b;\nendmodule\n"


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr of a command."""
    code = 0
    try:
        main(["problems", *arguments])
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def bench(tmp_path):
    return write(tmp_path / "bench.jsonl", {"problem_id": "b0", "prompt": "Invert the input.", "golden": GOLDEN})


def test_rows_too_close_are_reported_and_the_others_written_as_they_were(capsys, tmp_path, bench):
    copy = GOLDEN.replace("inv", "negate").replace("input a", "input x").replace("~a", "~x")
    rows = [
        {"prompt": "Do it.", "completion": f"```verilog\n{copy}```", "id": "renamed"},
        {"prompt": "Write an AND gate with one inverted input.", "completion": OTHER, "id": "other"},
        {"prompt": [{"role": "user", "content": "invert THE input."}], "id": "asked"},
    ]
    out = tmp_path / "clean.jsonl"
    train = write(tmp_path / "train.jsonl", *rows)
    options = (str(train), "--against", f"jsonl:{bench}", "--out", str(out))
    code, text, _ = run(capsys, "overlap", *options, "--json")
    assert code == 0
    assert json.loads(text) == {
        "num_items": 3,
        "num_overlapping": 2,
        "num_kept": 1,
        "against": [{"benchmark": "jsonl", "num_problems": 1}],
        "overlaps": [
            {"item_id": "renamed", "benchmark": "jsonl", "problem_id": "b0", "reason": "golden_equal", "score": 1.0},
            {"item_id": "asked", "benchmark": "jsonl", "problem_id": "b0", "reason": "prompt_equal", "score": 1.0},
        ],
    }
    assert [json.loads(line) for line in out.read_text().splitlines()] == [rows[1]]
    assert run(capsys, "overlap", *options, "--json")[1] == text
    human = run(capsys, "overlap", *options)[1]
    assert "2 of 3 items are too close to one of 1 protected problems" in human
    assert "jsonl: b0" in human


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "name a benchmark to protect"),
        (("--against", "jsonl"), "a benchmark to protect is BENCHMARK:ROOT"),
        (("--against", "jsnol:x"), "did you mean 'jsonl'"),
        (("--against", "jsonl:nowhere.jsonl"), "cannot read nowhere.jsonl"),
        (("--min-containment", "0"), "0.0 is not in the range"),
    ],
)
def test_wrong_options_are_usage_errors(capsys, tmp_path, options, said):
    train = write(tmp_path / "train.jsonl", {"prompt": "p"})
    code, out, err = run(capsys, "overlap", str(train), *options)
    assert (code, out) == (2, "")
    assert said in err


def test_a_row_with_nothing_to_compare_is_told_with_its_line(capsys, tmp_path, bench):
    train = write(tmp_path / "train.jsonl", {"prompt": "p"}, {"prompt": " "})
    code, _, err = run(capsys, "overlap", str(train), "--against", f"jsonl:{bench}")
    assert code == 2
    assert "train.jsonl: line 2 has neither a prompt nor a golden" in err


def test_make_draws_on_past_what_a_protected_benchmark_holds(capsys, tmp_path):
    chosen = ("make", "--family", "gates", "--family", "mux", "--num", "6", "--seed", "3")
    first, clean = tmp_path / "first.jsonl", tmp_path / "clean.jsonl"
    assert run(capsys, *chosen, "--out", str(first))[0] == 0
    before = read_problems(first)
    write_problems(tmp_path / "bench.jsonl", before[:2])
    against = ("--against", f"procedural:{tmp_path / 'bench.jsonl'}")
    code, _, err = run(capsys, *chosen, *against, "--out", str(clean))
    assert code == 0
    assert "training problems as too close to protected ones: " in err.replace("\n", " ")
    after = read_problems(clean)
    assert len(after) == 6
    assert not {problem.problem_id for problem in before[:2]} & {problem.problem_id for problem in after}
    assert run(capsys, *chosen, *against, "--split", "heldout")[0] == 2


def config(**problems: object) -> Config:
    problems = {"families": ("gates", "mux"), "num_problems": 8} | problems
    return Config(problems=ProblemsConfig(**problems), eval=EvalConfig(num_problems=5), sft=SftConfig(num_examples=3))


def test_a_copy_of_a_held_out_problem_never_trains(tmp_path, monkeypatch):
    held_out = evaluation_problems(config())[0]
    golden = held_out.oracle.golden.replace("TopModule", "Top")
    rows = [{"prompt": f"Task {number}.", "golden": text} for number, text in enumerate((golden, OTHER, GOLDEN))]
    file = write(tmp_path / "mine.jsonl", *rows)
    told = []
    problems = training_problems(config(files=(str(file),)), told.append)
    assert [problem.prompt for problem in problems] == ["Task 1.", "Task 2."]
    [line] = told
    assert line.startswith(
        "left out 1 of 3 training problems as too close to protected ones: 1 (held-out, golden_equal"
    )
    assert {problem.prompt for problem in warm_start_problems(config(files=(str(file),)))} <= {"Task 1.", "Task 2."}


def test_own_files_are_drawn_by_seed_up_to_the_number_asked_for(tmp_path):
    rows = [{"prompt": f"Task {number}.", "golden": OTHER} for number in range(20)]
    file = str(write(tmp_path / "mine.jsonl", *rows))
    some = training_problems(config(files=(file,)))
    assert len(some) == 8
    assert some == training_problems(config(files=(file,)))
    assert len(training_problems(config(files=(file,), num_problems=50))) == 20


def test_a_warm_start_needs_goldens(tmp_path):
    row = {"prompt": "p", "cocotb": "import cocotb\n", "top_module": "m"}
    file = str(write(tmp_path / "mine.jsonl", row))
    assert len(training_problems(config(files=(file,)))) == 1
    with pytest.raises(UsageError, match=r"no problem of problems\.files has a golden"):
        warm_start_problems(config(files=(file,)))


def test_training_goes_on_where_fewer_designs_are_held_out_than_an_evaluation_asks_for():
    chosen = ProblemsConfig(families=("gates",), levels=(1,), num_problems=4)
    assert len(training_problems(Config(problems=chosen, eval=EvalConfig(num_problems=9_999)))) == 4


def test_procedural_training_problems_are_the_plain_draw_where_nothing_overlaps():
    chosen = config()
    assert training_problems(chosen) == data._procedural(chosen, 8, chosen.run.seed)


def test_held_out_problems_of_ones_own_are_measured_and_never_train(tmp_path):
    held_out = write(tmp_path / "held_out.jsonl", {"prompt": "Other words.", "golden": GOLDEN, "id": "kept"})
    rows = [{"prompt": f"Task {number}.", "golden": text} for number, text in enumerate((OTHER, GOLDEN))]
    mine = write(tmp_path / "mine.jsonl", *rows)
    chosen = Config(problems=ProblemsConfig(files=(str(mine),)), eval=EvalConfig(files=(str(held_out),)))
    assert [problem.prompt for problem in evaluation_problems(chosen)] == ["Other words."]
    assert [problem.prompt for problem in training_problems(chosen)] == ["Task 0."]
    examples = sft_data(chosen)
    assert [example.prompt for example in examples.train] == ["Task 0."]
    assert [example.prompt for example in examples.validation] == ["Other words."]
