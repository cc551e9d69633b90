import json

import pytest

from earl.cli import main
from hdl_bench.procedural.families import FAMILIES
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
