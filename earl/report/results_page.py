"""Results documents as pages: one document as Markdown or HTML, many as a leaderboard. All text is escaped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2

from earl.printable import printable
from earl.show_results import config_text, rate_rows, rate_text, size_rows

Document = Mapping[str, Any]

_SHOWN_CONFIG = ("model_revision", "max_tokens", "prompt_style", "num_shots", "num_completion_tokens", "cost_usd")


def results_html(document: Document) -> str:
    """One document as a page without scripts or outside assets."""
    return _environment(is_html=True).get_template("results.html").render(**_view(document))


def results_markdown(document: Document) -> str:
    """One document as GitHub's Markdown."""
    return _environment(is_html=False).get_template("results.md").render(**_view(document)).strip() + "\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A line of the leaderboard. Rates as text; `value` is hardened pass@1 over all problems."""

    model: str
    value: float
    rates: tuple[str, ...]  # by the columns of the board
    sampling: str
    details: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Board:
    """The results of one benchmark in one state, the best first."""

    benchmark: str
    dataset: str
    num_problems: int
    columns: tuple[str, ...]
    entries: tuple[Entry, ...]


def boards_of(documents: Sequence[Document]) -> list[Board]:
    """A board for each benchmark and dataset hash: only what was asked the same questions stands in one table."""
    groups: dict[tuple[str, str], list[Document]] = {}
    for document in documents:
        groups.setdefault((document["benchmark"], document["hashes"]["dataset"]), []).append(document)
    return [_board(*key, group) for key, group in sorted(groups.items())]


def leaderboard_html(documents: Sequence[Document]) -> str:
    """All boards as one page."""
    return _environment(is_html=True).get_template("leaderboard.html").render(boards=boards_of(documents))


def leaderboard_markdown(documents: Sequence[Document]) -> str:
    """All boards as GitHub's Markdown."""
    page = _environment(is_html=False).get_template("leaderboard.md").render(boards=boards_of(documents))
    return page.strip() + "\n"


def _environment(*, is_html: bool) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("earl", "report"),
        autoescape=is_html,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["cell"] = lambda text: printable(str(text)).replace("|", "\\|").replace("\n", " ")
    environment.filters["printable"] = printable
    return environment


def _view(document: Document) -> dict[str, Any]:
    summary, results, errata = document["summary"], document["results"], _errata_kinds(document)
    return {
        "benchmark": document["benchmark"],
        "model": document["config"]["model"],
        "date": document["date"],
        "sampling": config_text(document),
        "summary": summary,
        "num_sound": summary["num_problems_sampled"] - summary["num_problems_with_errata"],
        "headline": results["hardened"]["all"].get("pass@1"),
        "rate_text": rate_text,
        "rates": rate_rows(document),
        "sizes": size_rows(document),
        "groups": [
            (title, _columns(groups.values()), groups)
            for title, groups in (("category", results["by_category"]), ("difficulty", results["by_difficulty"]))
            if groups
        ],
        "outcomes": summary["outcomes"],
        "failures": results["failures"],
        "letters": [
            (letter, document["letters"].get(letter, ""), count) for letter, count in summary["letters"].items()
        ],
        "proofs": summary["proofs"],
        "tool_errors": results["tool_errors"],
        "disagreements": [
            (title, [row for row in document["disagreements"] if row["compatible"] is passes])
            for title, passes in (
                ("Upstream would have passed these", True),
                ("Upstream would have failed these", False),
            )
        ],
        "problems": [row | {"kinds": errata.get(row["problem_id"], "")} for row in document["problems"]],
        "errata": document["errata"],
        "versions": document["versions"],
        "hashes": document["hashes"],
        "config": {name: document["config"][name] for name in _SHOWN_CONFIG if document["config"][name] is not None},
    }


def _errata_kinds(document: Document) -> dict[str, str]:
    return {row["problem_id"]: ", ".join(row["kinds"]).replace("_", " ") for row in document["errata"]}


def _columns(blocks: Any) -> list[str]:
    return [*dict.fromkeys(name for block in blocks for name in block)]


def _board(benchmark: str, dataset: str, documents: Sequence[Document]) -> Board:
    hardened = [document["results"]["hardened"] for document in documents]
    ks = _columns(side["all"] for side in hardened)
    columns = [*ks, "pass@1, sound"]
    has_upstream = any(document["results"]["compatible"] for document in documents)
    columns += ["upstream's rule"] if has_upstream else []
    entries = [_entry(document, ks, has_upstream=has_upstream) for document in documents]
    return Board(
        benchmark=benchmark,
        dataset=dataset[:12],
        num_problems=max(document["summary"]["num_problems"] for document in documents),
        columns=tuple(columns),
        entries=tuple(sorted(entries, key=lambda entry: (-entry.value, entry.model))),
    )


def _entry(document: Document, ks: Sequence[str], *, has_upstream: bool) -> Entry:
    results, summary = document["results"], document["summary"]
    everything, sound = results["hardened"]["all"], results["hardened"]["sound"]
    rates = [rate_text(everything.get(name)) for name in ks] + [rate_text(sound.get("pass@1"))]
    if has_upstream:
        value = summary["pass@1_compatible"]
        rates.append("-" if value is None else f"{value:.1%}")
    problems = f"{summary['num_problems_sampled']} of {summary['num_problems']} problems"
    tools = " ".join(f"{name} {document['versions'][name]}" for name in ("iverilog",) if name in document["versions"])
    errors = f"{summary['num_tool_errors']} tool errors" if summary["num_tool_errors"] else ""
    return Entry(
        model=document["config"]["model"] or "not given",
        value=everything["pass@1"]["value"] if "pass@1" in everything else -1.0,
        rates=tuple(rates),
        sampling=config_text(document, with_model=False),
        details=", ".join(part for part in (problems, errors, tools, document["date"][:10]) if part),
    )
