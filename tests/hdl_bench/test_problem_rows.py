"""A user's own problems: every form in which they may come, and what is said of a wrong one."""

import json
from importlib import resources
from pathlib import Path

import pytest

from hdl_bench import problem_source
from hdl_bench.benchmarks import load_benchmark
from hdl_bench.problem_files import read_problems
from hdl_bench.problem_row import ProblemRow
from toolchain.errors import ToolNotFound, UsageError
from verifiers.problem_json import problem_to_json
from verifiers.types import Clock, CocotbOracle, PassRule, Port, Problem, Protocol, ReferenceOracle, TestbenchOracle

GOLDEN = "module inv(input a, output y);\n  assign y = ~a;\nendmodule\n"
TESTBENCH = """module tb; reg a; wire y; inv dut(.a(a), .y(y));
initial begin a = 0; #1 if (y) $display("===========Your Design Passed==========="); $finish; end endmodule
"""
TESTS = "import cocotb\n"
NATIVE = Problem(
    problem_id="native",
    source="mine",
    prompt="Invert.",
    top_module="inv",
    ports=None,
    oracle=ReferenceOracle(golden=GOLDEN, golden_top="inv"),
)


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read_one(tmp_path: Path, row: object) -> Problem:
    [problem] = read_problems(write(tmp_path / "set.jsonl", row))
    return problem


def test_a_golden_alone_judges_by_equal_outputs(tmp_path):
    problem = read_one(tmp_path, {"prompt": "Invert.", "golden": GOLDEN})
    assert (problem.problem_id, problem.top_module, problem.prompt, problem.ports) == ("set-0", "inv", "Invert.", None)
    assert problem.oracle == ReferenceOracle(golden=GOLDEN, golden_top="inv")


def test_a_testbench_says_by_its_texts_how_it_judges(tmp_path):
    row = {"prompt": "Invert.", "testbench": TESTBENCH, "golden": GOLDEN, "files": {"data.txt": "1\n"}}
    oracle = read_one(tmp_path, row).oracle
    assert isinstance(oracle, TestbenchOracle)
    assert (oracle.rule, oracle.testbench, oracle.golden_top) == (PassRule.BANNER, TESTBENCH, "inv")
    assert oracle.files == (("data.txt", "1\n"),)
    counted = TESTBENCH.replace("=Your Design Passed=", "Mismatches: 0 in 1 samples")
    assert read_one(tmp_path, row | {"testbench": counted}).oracle.rule is PassRule.MISMATCH_COUNT
    assert read_one(tmp_path, row | {"testbench": "", "rule": "banner"}).oracle.rule is PassRule.BANNER


def test_cocotb_tests_need_neither_golden_nor_ports(tmp_path):
    problem = read_one(tmp_path, {"prompt": "p", "cocotb": TESTS, "top_module": "inv", "is_trusted": True})
    assert problem.oracle == CocotbOracle(test_source=TESTS, is_trusted=True)
    assert problem.ports is None


def test_every_key_arrives(tmp_path):
    row = {
        "problem_id": "p1",
        "source": "lab",
        "family": "gates",
        "difficulty": 2,
        "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Invert."}],
        "top_module": "TopModule",
        "golden": GOLDEN,
        "golden_top": "inv",
        "ports": [{"name": "a", "direction": "input", "width": 1}, {"name": "y", "direction": "output"}],
        "protocol": {"clocks": [{"name": "a", "edge": "both"}], "min_cycles": 9, "rare_high": ["a"]},
    }
    assert read_one(tmp_path, row) == Problem(
        problem_id="p1",
        source="lab",
        prompt="Be brief.\n\nInvert.",
        top_module="TopModule",
        ports=(Port(name="a", direction="input"), Port(name="y", direction="output")),
        oracle=ReferenceOracle(
            golden=GOLDEN,
            golden_top="inv",
            protocol=Protocol(clocks=(Clock(name="a", edge="both"),), min_cycles=9, rare_high=("a",)),
        ),
        family="gates",
        difficulty=2,
    )


def test_the_wire_format_and_the_column_of_our_reward_functions_are_read(tmp_path):
    native = problem_to_json(NATIVE)
    assert read_one(tmp_path, native) == NATIVE
    assert read_one(tmp_path, {"prompt": "as asked", "problem": json.dumps(native), "other": 1}) == NATIVE
    assert read_problems(write(tmp_path / "set.json", {"problems": [native, native]})) == [NATIVE, NATIVE]
    assert read_problems(write(tmp_path / "set.json", [native])) == [NATIVE]


def test_trls_columns_give_the_golden_as_a_model_would(tmp_path):
    answer = f"Here it is:\n```verilog\n{GOLDEN}```\n"
    for row in (
        {"prompt": [{"role": "user", "content": "Invert."}], "solution": answer},
        {"prompt": "Invert.", "completion": [{"role": "assistant", "content": answer}]},
    ):
        problem = read_one(tmp_path, row)
        assert (problem.prompt, problem.oracle.golden) == ("Invert.", GOLDEN)


@pytest.mark.parametrize(
    "truth", [GOLDEN, json.dumps({"golden": GOLDEN}), json.dumps(problem_to_json(NATIVE)), {"golden": GOLDEN}]
)
def test_verls_ground_truth_is_a_golden_or_a_row_of_any_form(tmp_path, truth):
    row = {
        "data_source": "lab",
        "prompt": [{"role": "user", "content": "Invert."}],
        "ability": "rtl",
        "reward_model": {"style": "rule", "ground_truth": truth},
        "extra_info": {"split": "train", "index": 7, "problem_id": "p7"},
    }
    problem = read_one(tmp_path, row)
    assert problem.oracle.golden == GOLDEN
    expected = ("native", "mine", "") if problem.problem_id == "native" else ("p7", "lab", "rtl")
    assert (problem.problem_id, problem.source, problem.family) == expected


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ([], "a problem must be an object, got []"),
        ({"golden": GOLDEN}, "lacks the key 'prompt'"),
        ({"prompt": "p"}, "lacks what judges an answer; give one of golden, testbench, cocotb"),
        ({"prompt": "p", "testbnch": "x"}, "unknown key 'testbnch'; did you mean 'testbench'"),
        ({"prompt": 3, "golden": GOLDEN}, "the key 'prompt': Input should be a valid string; got 3"),
        ({"prompt": [{"role": "assistant", "content": "p"}]}, "the key 'prompt.0.role': Input should be 'system'"),
        (
            {"prompt": "p", "golden": GOLDEN, "difficulty": 9},
            "the key 'difficulty': Input should be less than",
        ),
        ({"prompt": "p", "golden": GOLDEN, "ports": [{"name": "a"}]}, "the key 'ports.0.direction': Field required"),
        ({"prompt": "p", "golden": GOLDEN, "solution": GOLDEN}, "the key 'solution' says 'golden' once more"),
        ({"prompt": "p", "solution": "I cannot."}, "the key 'solution' holds no Verilog module"),
        ({"prompt": "p", "golden": GOLDEN + GOLDEN.replace("inv", "other")}, "found: inv, other"),
        ({"prompt": "p", "golden": "no module"}, "found: none"),
        ({"prompt": "p", "cocotb": TESTS, "testbench": TESTBENCH}, "'testbench' and 'cocotb'"),
        ({"prompt": "p", "cocotb": TESTS}, "lacks the key 'top_module'"),
        ({"prompt": "p", "testbench": TESTBENCH, "top_module": "inv"}, "lacks the key 'ports'"),
        ({"prompt": "p", "testbench": "module tb; endmodule", "golden": GOLDEN}, "lacks the key 'rule'"),
        ({"prompt": "p", "golden": GOLDEN, "rule": "vote"}, "the key 'rule'"),
        ({"prompt": "p", "problem": "{"}, "the key 'problem' is no JSON"),
        ({"prompt": "p", "reward_model": {"style": "rule"}}, "'reward_model' must be an object with ground_truth"),
        ({"problem_id": "p", "oracle": {"kind": "reference"}}, "the key"),
    ],
)
def test_a_wrong_row_is_told_with_its_line_and_key(tmp_path, row, said):
    path = write(tmp_path / "set.jsonl", problem_to_json(NATIVE), row)
    with pytest.raises(UsageError) as raised:
        read_problems(path)
    assert said in str(raised.value)
    assert "set.jsonl: line 2: " in str(raised.value)


def write_folder(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_a_folder_has_a_sub_folder_for_each_problem(tmp_path):
    write_folder(tmp_path / "b_golden", prompt_dot_md="Invert.", golden_dot_v=GOLDEN)
    write_folder(
        tmp_path / "a_tests",
        prompt_dot_txt="Invert.",
        test_dot_py=TESTS,
        problem_dot_toml='top_module = "inv"\nis_trusted = true\ndifficulty = 3\n',
        files__model_dot_py="x = 1\n",
    )
    write_folder(tmp_path / "c_bench", prompt_dot_md="Invert.", golden_dot_sv=GOLDEN, testbench_dot_sv=TESTBENCH)
    tests, golden, bench = read_problems(tmp_path)
    assert [problem.problem_id for problem in (tests, golden, bench)] == ["a_tests", "b_golden", "c_bench"]
    assert tests.oracle == CocotbOracle(test_source=TESTS, is_trusted=True, files=(("model.py", "x = 1\n"),))
    assert tests.difficulty == 3
    assert golden.oracle == ReferenceOracle(golden=GOLDEN, golden_top="inv")
    assert isinstance(bench.oracle, TestbenchOracle)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"golden_dot_v": GOLDEN}, "has no prompt.md or prompt.txt"),
        ({"prompt_dot_md": "p", "prompt_dot_txt": "p"}, "says 'prompt' twice"),
        ({"prompt_dot_md": "p", "problem_dot_toml": "prompt = 'p'"}, "says 'prompt' twice"),
        ({"prompt_dot_md": "p", "problem_dot_toml": "top"}, "is no valid TOML"),
        ({"prompt_dot_md": "p"}, "lacks what judges an answer"),
    ],
)
def test_a_wrong_problem_folder_is_told_by_name(tmp_path, files, said):
    write_folder(tmp_path / "mine", **files)
    with pytest.raises(UsageError) as raised:
        read_problems(tmp_path)
    assert said in str(raised.value)
    assert "mine" in str(raised.value)


def test_parquet_may_have_columns_that_we_do_not_know_and_nulls(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [
        {"prompt": "Invert.", "golden": GOLDEN, "note": "x", "cocotb": None, "ports": None},
        {"prompt": "Invert.", "golden": None, "note": None, "cocotb": TESTS, "top_module": "inv"},
    ]
    rows[0]["top_module"] = None
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "set.parquet")
    first, second = read_problems(tmp_path / "set.parquet")
    assert first.oracle == ReferenceOracle(golden=GOLDEN, golden_top="inv")
    assert (second.problem_id, second.oracle) == ("set-1", CocotbOracle(test_source=TESTS))
    (tmp_path / "bad.parquet").write_text("no parquet")
    with pytest.raises(UsageError, match=r"bad\.parquet cannot be read as parquet"):
        read_problems(tmp_path / "bad.parquet")


def test_a_data_set_is_read_through_the_hub_library_one_split_at_a_time(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "lab" / "set"
    folder.mkdir(parents=True)
    write(folder / "train.jsonl", {"prompt": "Invert.", "golden": GOLDEN, "note": "x"})
    write(folder / "test.jsonl", *[{"prompt": f"Invert {number}.", "golden": GOLDEN, "note": "x"} for number in (1, 2)])
    problems = read_problems(Path(f"hf:{folder}:test"))
    assert [(problem.problem_id, problem.prompt) for problem in problems] == [
        ("set-0", "Invert 1."),
        ("set-1", "Invert 2."),
    ]
    with pytest.raises(UsageError, match="has the splits train, test; choose one"):
        read_problems(Path(f"hf:{folder}"))
    with pytest.raises(UsageError, match="dev"):
        read_problems(Path(f"hf:{folder}:dev"))


@pytest.mark.parametrize("source", ["set.parquet", "hf:lab/set"])
def test_a_missing_library_is_told_with_the_remedy(tmp_path, monkeypatch, source):
    def missing(module: str):
        raise ImportError(module)

    monkeypatch.setattr(problem_source.importlib, "import_module", missing)
    with pytest.raises(ToolNotFound, match=r"needs the package \w+; pip install 'earl-rtl\[datasets\]'"):
        read_problems(Path(source))


def test_the_benchmark_is_what_the_file_holds_each_problem_once(tmp_path):
    path = write(tmp_path / "set.jsonl", problem_to_json(NATIVE), {"prompt": "Invert.", "golden": GOLDEN})
    benchmark = load_benchmark("jsonl", path)
    assert (benchmark.name, list(benchmark.problems)) == ("jsonl", ["native", "set-1"])
    assert list(load_benchmark("jsonl", tmp_path).problems) == ["native", "set-1"]
    write(tmp_path / "more.jsonl", problem_to_json(NATIVE))
    with pytest.raises(UsageError, match="the problem_id 'native' twice"):
        load_benchmark("jsonl", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"holds no \.jsonl file and no sub-folder"):
        load_benchmark("jsonl", tmp_path / "empty")


def test_the_shipped_schema_is_the_models():
    shipped = json.loads(resources.files("hdl_bench").joinpath("problem.schema.json").read_text(encoding="utf-8"))
    assert shipped == ProblemRow.model_json_schema()
