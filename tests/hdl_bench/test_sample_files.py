"""Completions in folders: their order, what is missing, and what is no such folder."""

import pytest
from rtllm_checkout import design_of, write_v2
from stock_checkout import write_checkout

from hdl_bench.benchmarks import load_benchmark
from hdl_bench.sample_files import read_rows
from toolchain.errors import UsageError

NAMES = ("larger", "toggle")


@pytest.fixture
def rtllm(tmp_path):
    return load_benchmark("rtllm-v2", write_v2(tmp_path / "RTLLM"))


@pytest.fixture
def trials(tmp_path):
    for number in (10, *range(1, 10)):
        for name in NAMES:
            path = tmp_path / "trials" / f"t{number}" / f"{name}.v"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"// {number}\n{design_of(name).source()}")
    (tmp_path / "trials" / "notes").mkdir()
    (tmp_path / "trials" / "t3" / "toggle.v").unlink()
    (tmp_path / "trials" / "t2" / "stray.v").write_text("")
    return tmp_path / "trials"


def test_trials_come_by_number_each_with_all_designs(rtllm, trials):
    rows = read_rows(rtllm, samples=None, trials=trials)
    assert len(rows) == 10 * len(rtllm.problems)
    assert [row.problem_id for row in rows[: len(rtllm.problems)]] == list(rtllm.problems)
    toggles = [row for row in rows if row.problem_id == "toggle"]
    assert [row.sample_idx for row in toggles] == list(range(10))
    assert [row.completion.split("\n")[0] for row in toggles] == [f"// {i}" if i != 3 else "" for i in range(1, 11)]
    assert all(row.is_extracted for row in rows)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda trials: (trials / "t2").rename(trials / "t12"), "has t12 but no t2"),
        (lambda trials: [p.unlink() for p in (trials / "t4").iterdir()], "t4 holds no file of rtllm-v2; its files are"),
        (lambda trials: [p.rename(trials / f"x{p.name}") for p in trials.iterdir()], "holds no trial"),
    ],
)
def test_what_is_no_set_of_trials_says_why(rtllm, trials, damage, said):
    damage(trials)
    with pytest.raises(UsageError, match=said):
        read_rows(rtllm, samples=None, trials=trials)


def test_a_build_folder_has_samples_by_problem_and_number(tmp_path):
    benchmark = load_benchmark("verilog-eval-v2-spec", write_checkout(tmp_path / "checkout"))
    build = tmp_path / "build"
    for name, numbers in (("Prob903_mux", (1,)), ("Prob901_wire", (2, 1, 100))):
        (build / name).mkdir(parents=True)
        for number in numbers:
            (build / name / f"{name}_sample{number:02}.sv").write_text(f"// {number}\n")
        (build / name / f"{name}_sample01-sv-generate.log").write_text("log\n")
        (build / name / "other.sv").write_text("stray\n")
    rows = read_rows(benchmark, samples=build, trials=None)
    assert [(row.problem_id, row.sample_idx, row.completion) for row in rows] == [
        ("Prob901_wire", 0, "// 1\n"),
        ("Prob901_wire", 1, "// 2\n"),
        ("Prob901_wire", 2, "// 100\n"),
        ("Prob903_mux", 0, "// 1\n"),
    ]
    with pytest.raises(UsageError, match="holds no sample of verilog-eval-v2-spec; its files are like Prob901_wire/"):
        read_rows(benchmark, samples=tmp_path / "checkout", trials=None)


def test_a_sample_file_is_not_cut_again_by_upstreams_rule(tmp_path):
    benchmark = load_benchmark("verilog-eval-v2-spec", write_checkout(tmp_path / "checkout"))
    text = "module TopModule; Helper h(); endmodule\nmodule Helper; endmodule\n"
    (tmp_path / "build" / "Prob901_wire").mkdir(parents=True)
    (tmp_path / "build" / "Prob901_wire" / "Prob901_wire_sample01.sv").write_text(text)
    [row] = read_rows(benchmark, samples=tmp_path / "build", trials=None)
    assert benchmark.compatible is not None
    assert benchmark.compatible.job(row.answer).candidate == text


def test_exactly_one_source_of_rows_is_given(rtllm, tmp_path):
    for given in ({"samples": None, "trials": None}, {"samples": tmp_path, "trials": tmp_path}):
        with pytest.raises(UsageError, match="either --samples"):
            read_rows(rtllm, **given)
    with pytest.raises(UsageError, match="is not a folder; give the folder that holds t1"):
        read_rows(rtllm, samples=None, trials=tmp_path / "nowhere")
