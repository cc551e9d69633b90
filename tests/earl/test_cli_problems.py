import json

import pytest

import verifiers.formal
from earl.cli import main
from hdl_bench.procedural.families import FAMILIES
from toolchain.errors import ToolNotFound
from verifiers.golden_check import GoldenCheck
from verifiers.oracle_gate import OracleGate
from verifiers.problem_json import problem_from_json


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout, stderr of a command."""
    code = 0
    try:
        main(["problems", *arguments])
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_list_names_every_family_and_adds_up_their_designs(capsys):
    code, out, _ = run(capsys, "list", "--json")
    document = json.loads(out)
    assert code == 0
    assert {row["name"] for row in document["families"]} == set(FAMILIES)
    assert document["num_distinct"] == sum(row["num_distinct"] for row in document["families"])
    assert run(capsys, "list")[1].count("counter") >= 1


def test_make_prints_one_document_of_problems_that_read_back(capsys):
    code, out, _ = run(capsys, "make", "--family", "mux", "--family", "counter", "--num", "4", "--level", "1", "--json")
    problems = [problem_from_json(row) for row in json.loads(out)["problems"]]
    assert code == 0
    assert [problem.family for problem in problems] == ["mux", "counter", "mux", "counter"]
    assert {problem.difficulty for problem in problems} == {1}


def test_equal_options_make_equal_problems_and_another_seed_others(capsys):
    arguments = ("make", "--family", "lfsr", "--num", "3", "--json", "--seed")
    first, again, other = (run(capsys, *arguments, seed)[1] for seed in ("5", "5", "6"))
    assert first == again
    assert first != other


def test_excluded_families_are_left_out(capsys):
    code, out, _ = run(capsys, "make", "--exclude-family", "mux", "--num", str(len(FAMILIES)), "--json")
    families = {row["family"] for row in json.loads(out)["problems"]}
    assert code == 0
    assert families == {name for name, family in FAMILIES.items() if {1, 2} & set(family.levels)} - {"mux"}


def test_out_gets_one_problem_a_line(capsys, tmp_path):
    file = tmp_path / "set.jsonl"
    code, _, _ = run(capsys, "make", "--family", "gates", "--num", "3", "--split", "heldout", "--out", str(file))
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert code == 0
    assert len({problem_from_json(row).problem_id for row in rows}) == 3


def test_the_human_form_shows_a_problem_with_its_golden(capsys):
    code, out, _ = run(capsys, "make", "--family", "gates", "--num", "1")
    assert code == 0
    assert "I would like you to implement a module named TopModule" in out
    assert "endmodule" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("make", "--family", "coutner"), "did you mean 'counter'"),
        (("make", "--num", "0"), "0 is not in the range"),
        (("make", "--level", "6"), "6 is not in the range"),
        (("make", "--family", "gates", "--num", "100000000", "--level", "1"), "ask for fewer"),
    ],
)
def test_wrong_options_are_usage_errors_in_one_line(capsys, arguments, said):
    code, out, err = run(capsys, *arguments)
    assert code == 2
    assert out == ""
    assert said in err


def test_a_file_that_cannot_be_written_is_told(capsys, tmp_path):
    code, _, err = run(capsys, "make", "--family", "gates", "--num", "1", "--out", str(tmp_path / "no" / "x.jsonl"))
    assert code == 3
    assert "cannot write" in err


_GOLDEN = """module TopModule(input [3:0] a, input [3:0] b, output [3:0] y);
  wire [3:0] sum = a + b;
  assign y = sum > 4'd9 ? ~b : sum ^ 4'd5;
endmodule
"""


def write_problem(path, problem_id: str, golden: str) -> str:
    oracle = {"kind": "reference", "golden": golden, "golden_top": "TopModule"}
    document = {"problem_id": problem_id, "source": "test", "prompt": "", "top_module": "TopModule", "ports": None}
    path.write_text(json.dumps({**document, "oracle": oracle}) + "\n")
    return str(path)


@pytest.mark.tool
def test_check_tells_the_sound_from_the_rest_and_writes_both(capsys, tmp_path):
    good = write_problem(tmp_path / "good.json", "good", _GOLDEN)
    bad = write_problem(tmp_path / "bad.json", "bad", _GOLDEN.replace("^ 4'd5", "^ missing"))
    sound, failed = tmp_path / "sound.jsonl", tmp_path / "failed.json"
    options = ("--no-formal", "--workers", "1", "--json", "--out", str(sound), "--quarantine", str(failed))
    code, out, err = run(capsys, "check", good, bad, *options)
    document = json.loads(out)
    assert code == 1
    assert (document["num_problems"], document["num_sound"], document["num_quarantined"]) == (2, 1, 1)
    assert document["is_formal"] is False
    first, second = document["problems"]
    assert (first["problem_id"], first["is_sound"], first["reasons"]) == ("good", True, [])
    assert first["mutation_score"] == first["num_killed"] / first["num_mutants"] >= 0.95
    assert first["num_mutants"] > 20
    assert second["problem_id"] == "bad"
    assert "missing" in second["reasons"][0]
    assert second["mutation_score"] is None
    assert "bad: " in err
    assert [json.loads(line)["problem_id"] for line in sound.read_text().splitlines()] == ["good"]
    assert json.loads(failed.read_text())["problems"] == [second]


@pytest.mark.tool
def test_check_shows_what_an_oracle_does_not_see_with_its_source_line(capsys, tmp_path):
    unused = _GOLDEN.replace("  assign y", "  wire [3:0] unused = a - 4'd7;\n  assign y")
    code, out, _ = run(capsys, "check", write_problem(tmp_path / "p.json", "p", unused), "--no-formal")
    assert code == 1
    assert "line 3: wire [3:0] unused = a - 4'd7;" in out
    assert "quarantined" in out
    assert "0 of 1 problems are sound" in out


@pytest.mark.tool
def test_check_without_a_file_takes_a_problem_of_each_family_in_turn(capsys):
    code, out, _ = run(capsys, "check", "--num", "2", "--no-formal", "--json")
    families = [row["problem_id"].split("-")[0] for row in json.loads(out)["problems"]]
    assert code == 0
    assert families == list(FAMILIES)[:2]


def test_check_without_a_prover_says_so_and_does_not_go_on_without(capsys, tmp_path, monkeypatch):
    class Missing:
        def __init__(self):
            raise ToolNotFound("no pyosys here")

    monkeypatch.setattr(verifiers.formal, "FormalProver", Missing)
    code, out, err = run(capsys, "check", write_problem(tmp_path / "p.json", "p", _GOLDEN))
    assert (code, out) == (3, "")
    assert "no pyosys here" in err


@pytest.mark.tool
def test_check_ends_with_three_and_quarantines_nothing_when_a_tool_fails(capsys, tmp_path, monkeypatch):
    def broken(gate, problem):
        return GoldenCheck(problem_id=problem.problem_id, failures=("the sandbox is gone",))

    monkeypatch.setattr(OracleGate, "_ask_worker", broken)
    failed, sound = tmp_path / "failed.json", tmp_path / "sound.jsonl"
    options = ("--no-formal", "--quarantine", str(failed), "--out", str(sound))
    code, out, err = run(capsys, "check", write_problem(tmp_path / "p.json", "p", _GOLDEN), *options)
    assert code == 3
    assert json.loads(failed.read_text()) == {"problems": []}
    assert sound.read_text() == ""
    assert "not checked" in out
    assert "p: the sandbox is gone" in err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no problem"),
        ("{", "is no JSON"),
        ('{"problem_id": "p"}', "lacks the key"),
        ('{"problems": []}', "holds no problem"),
    ],
)
def test_check_refuses_a_file_that_holds_no_problem(capsys, tmp_path, text, said):
    (tmp_path / "p.json").write_text(text)
    code, out, err = run(capsys, "check", str(tmp_path / "p.json"))
    assert (code, out) == (2, "")
    assert said in err
    assert "p.json" in err
