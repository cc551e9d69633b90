"""Results as pages: what must be on them, in Markdown that is a table, in HTML that escapes."""

import itertools
import json
from dataclasses import replace

import pytest
from click.testing import CliRunner
from markdown_it import MarkdownIt
from scores_by_hand import score_of

from earl.cli import main
from earl.cli.report import command
from earl.report.results_page import boards_of, leaderboard_html, leaderboard_markdown, results_html, results_markdown
from hdl_bench.results import RunInfo, results_document
from hdl_bench.score import Score
from toolchain.diagnostics import Diagnostic


def document_of(rows, info=RunInfo(), **fields):  # noqa: B008  (frozen)
    return json.loads(json.dumps(results_document(score_of(rows, **fields), info)))


@pytest.fixture
def document():
    rows, upstream = {"a": "PPmsP", "b": "Pfmm?"}, {"a": "..RSR", "b": "....R"}
    info = RunInfo(model="m<b>", temperature=0.8, top_p=0.95)
    families = {"a": "mux|2", "b": "adder"}
    return document_of(
        rows, info, upstream=upstream, errata=("b",), families=families, proofs={"a": "equivalent", "b": "unknown"}
    )


def tables_of(markdown: str) -> list[list[str]]:
    """The rows of each table that a Markdown parser finds, as text."""
    tokens = MarkdownIt("commonmark").enable("table").parse(markdown)
    tables: list[list[str]] = []
    for token, inside in itertools.pairwise(tokens):
        if token.type == "table_open":
            tables.append([])
        elif token.type == "tr_open":
            tables[-1].append("")
        elif token.type in ("th_open", "td_open"):
            tables[-1][-1] += inside.content + ";"
    return tables


def test_markdown_has_all_rates_and_every_disagreement(document):
    tables = tables_of(results_markdown(document))
    rates, by_category, by_difficulty, outcomes, letters, passed_upstream, failed_upstream, problems = tables
    assert rates[0] == ";all 2 problems;1 sound ones;"
    assert rates[1].startswith("pass@1, hardened;42.5%  [")
    assert any(row.startswith("pass@5, upstream's rule;100.0%") for row in rates)
    assert "pass@1, upstream's arithmetic;60.0%;;" in rates
    assert [row.split(";")[0] for row in by_category] == ["category", "adder", "mux|2"]
    assert [row.split(";")[:2] for row in by_difficulty] == [["difficulty", "problems"], ["5", "2"]]
    assert "mismatch;3;`ExpectedSemicolon` 3;" in outcomes
    assert "`R`;mismatch;3;" in letters
    assert len(passed_upstream) == 1 + 3
    assert len(failed_upstream) == 1 + 1
    assert problems[1:] == ["a;3 of 5;2 of 5;;", "b;1 of 4;4 of 5;weak testbench;"]


def test_html_escapes_what_others_wrote(document):
    page = results_html(document)
    assert "m&lt;b&gt;" in page
    assert "<b>m" not in page
    assert "Upstream would have passed these: 3" in page
    assert "1 rows could not be judged" in page
    assert "temperature 0.8, top_p 0.95, seed not given" in page
    assert "<script" not in page


def test_a_document_without_upstream_or_proofs_has_a_page_too():
    document = document_of({"a": "Pm"})
    assert "upstream" not in results_html(document).lower().replace("_upstream", "")
    assert len(tables_of(results_markdown(document))) == 3


def test_terminal_escapes_in_a_diagnostic_are_defused():
    score = score_of({"a": "m"}, upstream={"a": "."})
    said = (Diagnostic(message="bad \x1b[31m|name"),)
    [row] = score.rows
    row = replace(row, verdict=replace(row.verdict, diagnostics=said))
    page = results_markdown(results_document(Score(benchmark=score.benchmark, rows=(row,)), RunInfo()))
    assert "\x1b" not in page
    assert "bad �[31m\\|name" in page


def test_a_leaderboard_ranks_within_a_benchmark_and_its_state():
    worse, better = (document_of({"a": rows}, RunInfo(model=rows)) for rows in ("Pmm", "PPm"))
    other = document_of({"a": "P", "b": "P"}, RunInfo(model="other"))
    boards = boards_of([worse, other, better])
    assert [[entry.model for entry in board.entries] for board in boards if board.num_problems == 1] == [["PPm", "Pmm"]]
    assert len(boards) == 2
    first, second = tables_of(leaderboard_markdown([worse, other, better]))
    assert {len(first), len(second)} == {2, 3}
    page = leaderboard_html([worse, better])
    assert page.index("PPm") < page.index("Pmm")


def test_the_command_writes_pages_and_shows_results(document, tmp_path, capsys):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(document))
    html, markdown = tmp_path / "r.html", tmp_path / "r.md"
    assert CliRunner().invoke(command, [str(path), "--html", str(html), "--markdown", str(markdown)]).exit_code == 0
    assert html.read_text().startswith("<!DOCTYPE html>")
    assert markdown.read_text() == results_markdown(document)
    shown = CliRunner().invoke(command, [str(path)])
    assert "pass@1, hardened" in shown.stdout
    assert "temperature 0.8" in shown.stdout
    board = CliRunner().invoke(command, ["--leaderboard", str(path), str(path)])
    assert board.stdout == leaderboard_markdown([document, document])
    with pytest.raises(SystemExit) as ended:
        main(["report", str(path), str(path)])
    assert ended.value.code == 2
    assert "--leaderboard" in capsys.readouterr().err
