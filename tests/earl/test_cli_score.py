"""`earl score` from outside: files in, a document and a table out."""

import json
import subprocess
import sys

import pytest
from rtllm_checkout import DESIGNS, design_of, write_v2
from stock_checkout import PROBLEMS, write_checkout


def earl(*arguments: str) -> subprocess.CompletedProcess:
    argv = [sys.executable, "-c", "from earl.cli import main; main()", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)


def score(root, samples, out, *more, name="verilog-eval-v2-spec") -> subprocess.CompletedProcess:
    options = {"--benchmark": name, "--root": root, "--samples": samples, "--json": out, "--cache": f"{out}.db"}
    return earl("score", *(str(word) for pair in options.items() for word in pair), *more)


def write_samples(path, rows):
    path.write_text("".join(json.dumps({"problem_id": name, "completion": text}) + "\n" for name, text in rows))
    return path


@pytest.mark.tool
@pytest.mark.slow
def test_every_row_has_its_verdict_in_input_order(tmp_path):
    root = write_checkout(tmp_path / "checkout")
    wire, adder = PROBLEMS[0], PROBLEMS[1]
    forged = wire.source("TopModule").replace("endmodule", "initial $finish; endmodule").replace("= in", "= 0")
    rows = [
        (adder.name, adder.source("TopModule")),
        (wire.name, forged),
        (adder.name, adder.source("TopModule")),
        (wire.name, wire.source("TopModule")),
    ]
    out = tmp_path / "out.json"
    info = ("--info", "model=m", "--info", "temperature=0.8", "--results", str(tmp_path / "results"))
    done = score(root, write_samples(tmp_path / "samples.jsonl", rows), out, *info)
    assert done.returncode == 0, done.stderr
    document = json.loads(out.read_text())
    assert [(v["problem_id"], v["sample_idx"], v["outcome"], v["passed"]) for v in document["verdicts"]] == [
        ("Prob902_adder", 0, "passed", True),
        ("Prob901_wire", 0, "forbidden_construct", False),
        ("Prob902_adder", 1, "passed", True),
        ("Prob901_wire", 1, "passed", True),
    ]
    compatible = [verdict["compatible"] for verdict in document["verdicts"]]
    assert compatible == [{"passed": True, "letter": "."}] * 4
    assert document["summary"]["pass@1"] == pytest.approx(0.75)
    assert document["summary"]["pass@1_compatible"] == pytest.approx(1.0)
    [disagreement] = document["disagreements"]
    assert (disagreement["problem_id"], disagreement["sample_idx"]) == ("Prob901_wire", 0)
    assert "$finish" in disagreement["reason"]
    assert document["results"]["hardened"]["all"]["pass@1"]["value"] == pytest.approx(0.75)
    assert document["results"]["compatible"]["upstream"]["value"] == pytest.approx(1.0)
    assert document["config"]["model"] == "m"
    [results, samples] = sorted((tmp_path / "results").iterdir())
    assert json.loads(results.read_text()) == document
    assert "75.0%" in done.stdout
    assert "upstream's rule passes and ours does not: 1 rows" in done.stdout
    assert "model m, temperature 0.8, top_p not given, seed not given" in done.stdout
    again = score(root, samples, out, "--no-compatible")
    assert again.returncode == 0, again.stderr
    second = json.loads(out.read_text())
    assert second["results"]["compatible"] is None
    assert second["results"]["hardened"] == document["results"]["hardened"]
    assert second["hashes"] == document["hashes"]


@pytest.mark.tool
@pytest.mark.slow
def test_procedural_problems_are_scored_without_an_upstream(tmp_path):
    problems = tmp_path / "problems.jsonl"
    assert earl("problems", "make", "--num", "1", "--family", "gates", "--out", str(problems)).returncode == 0
    [problem] = [json.loads(line) for line in problems.read_text().splitlines()]
    rows = [
        (problem["problem_id"], problem["oracle"]["golden"]),
        (problem["problem_id"], "module TopModule; endmodule"),
    ]
    out = tmp_path / "out.json"
    done = score(problems, write_samples(tmp_path / "samples.jsonl", rows), out, name="procedural")
    assert done.returncode == 0, done.stderr
    verdicts = json.loads(out.read_text())["verdicts"]
    assert [verdict["outcome"] for verdict in verdicts] == ["passed", "interface_error"]
    assert all("compatible" not in verdict for verdict in verdicts)


@pytest.mark.tool
@pytest.mark.slow
def test_trials_of_rtllm_are_scored_with_a_missing_design_as_no_code(tmp_path):
    root = write_v2(tmp_path / "RTLLM")
    for number, names in ((1, ("adder_4bit", "inverse")), (2, ("adder_4bit",))):
        for name in names:
            path = tmp_path / "trials" / f"t{number}" / f"{name}.v"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(design_of(name).source())
    out = tmp_path / "out.json"
    arguments = ("--benchmark", "rtllm-v2", "--root", str(root), "--json", str(out), "--no-formal")
    done = earl("score", *arguments, "--trials", str(tmp_path / "trials"))
    assert done.returncode == 0, done.stderr
    document = json.loads(out.read_text())
    ended = {
        (v["problem_id"], v["sample_idx"]): (v["outcome"], v["compatible"]["letter"]) for v in document["verdicts"]
    }
    assert len(ended) == 2 * len(DESIGNS)
    assert ended["adder_4bit", 0] == ended["adder_4bit", 1] == ("passed", ".")
    assert ended["inverse", 0] == ("tool_error", "R")
    assert ended["inverse", 1] == ("no_code", "C")
    assert {"problem_id": "inverse", "kinds": ["golden_fails"]}.items() <= next(
        erratum for erratum in document["errata"] if erratum["problem_id"] == "inverse"
    ).items()
    assert document["summary"]["pass@1_compatible"] == pytest.approx(1 / 51)


def test_a_wrong_root_is_a_usage_error(tmp_path):
    samples = write_samples(tmp_path / "samples.jsonl", [("Prob901_wire", "")])
    done = score(tmp_path / "nowhere", samples, tmp_path / "out.json")
    assert done.returncode == 2
    assert "is not a folder" in done.stderr


def test_an_unknown_problem_is_a_usage_error(tmp_path):
    samples = write_samples(tmp_path / "samples.jsonl", [("Prob999_none", "")])
    done = score(write_checkout(tmp_path / "checkout"), samples, tmp_path / "out.json")
    assert done.returncode == 2
    assert "has no problem 'Prob999_none'" in done.stderr


@pytest.mark.parametrize(
    ("info", "said"),
    [
        ("temprature=1", "did you mean 'temperature'"),
        ("temperature=hot", "temperature: Input should be a valid number"),
    ],
)
def test_what_is_told_of_the_sampling_is_checked(tmp_path, info, said):
    done = score(tmp_path, tmp_path / "none", tmp_path / "out.json", "--info", info)
    assert done.returncode == 2
    assert said in done.stderr


@pytest.mark.tool
@pytest.mark.slow
def test_a_folder_of_ones_own_problems_is_scored(tmp_path):
    golden = "module inv(input a, output y);\n  assign y = ~a;\nendmodule\n"
    problem = tmp_path / "mine" / "inverter"
    problem.mkdir(parents=True)
    (problem / "prompt.md").write_text("Invert.")
    (problem / "golden.v").write_text(golden)
    rows = [("inverter", f"```verilog\n{golden}```"), ("inverter", golden.replace("~", ""))]
    out = tmp_path / "out.json"
    done = score(tmp_path / "mine", write_samples(tmp_path / "samples.jsonl", rows), out, name="jsonl")
    assert done.returncode == 0, done.stderr
    assert [verdict["outcome"] for verdict in json.loads(out.read_text())["verdicts"]] == ["passed", "mismatch"]
