"""`earl compare` from outside: exit codes, documents, files for CI."""

import json
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from scores_by_hand import score_of

from earl.cli import main
from earl.cli.compare import command
from hdl_bench.results import RunInfo, results_document


@pytest.fixture
def write(tmp_path):
    def write(name: str, passes: str, info: RunInfo = RunInfo()) -> str:  # noqa: B008  (frozen)
        score = score_of({f"p{index}": letter for index, letter in enumerate(passes)})
        path = tmp_path / name
        path.write_text(json.dumps(results_document(score, info)))
        return str(path)

    return write


def run(*arguments: str):
    return CliRunner().invoke(command, arguments)


def test_no_regression_ends_with_0_and_one_beyond_noise_with_1(write):
    good, worse, bad = write("a.json", "PPPPPPPm"), write("b.json", "PPPPPPmm"), write("c.json", "mmmmmmmm")
    assert run(good, good).exit_code == 0
    assert run(good, worse).exit_code == 0
    assert run(good, worse, "--fail-below", "10").exit_code == 1
    result = run(good, bad)
    assert result.exit_code == 1
    assert "a regression beyond noise" in result.stdout
    assert "lost: 7" in result.stdout
    assert run(bad, good).exit_code == 0


def test_the_document_and_the_junit_file(write, tmp_path):
    a, b = write("a.json", "PPPm"), write("b.json", "PPmP")
    result = run(a, b, "--json", "--junit", str(tmp_path / "junit.xml"))
    document = json.loads(result.stdout)
    assert (document["difference"], document["test"], document["has_failed"]) == (0.0, "mcnemar", False)
    assert [change["problem_id"] for change in document["lost"]] == ["p2"]
    assert document["gained"][0]["after"] == {"n": 1, "passed": 1}
    names = [case.get("name") for case in ElementTree.parse(tmp_path / "junit.xml").getroot().iter("testcase")]
    assert names == ["pass@1", "p0", "p1", "p2", "p3"]


def test_github_gets_annotations_and_a_summary(write, tmp_path, monkeypatch):
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    result = run(write("a.json", "PPPPPPPP"), write("b.json", "mmmmmmmP"), "--github", "--json")
    assert "::error title=procedural::" in result.stderr
    assert json.loads(result.stdout)["is_regression"]
    assert "### ❌ procedural, hardened: B against A on 8 problems" in summary.read_text()
    assert "| p0 | 1/1 | 0/1 |" in summary.read_text()


def test_files_that_cannot_be_compared_are_usage_errors(write, tmp_path, capsys):
    a, other = write("a.json", "PP"), tmp_path / "other.json"
    other.write_text('{"problems": []}')
    cases = [(a, write("c.json", "PPP"), "dataset hash"), (a, str(other), "is no results file"), (a, "none", "none")]
    for before, after, said in cases:
        with pytest.raises(SystemExit) as ended:
            main(["compare", before, after])
        assert ended.value.code == 2
        assert said in capsys.readouterr().err
