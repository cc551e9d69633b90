"""A comparison on a terminal, as Markdown and as a document."""

from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from earl.printable import printable
from hdl_bench.compare import Change, Comparison
from hdl_bench.gate_reports import verdict_words

_SHOWN_CHANGES = 30


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    """What --json prints."""
    return {
        **asdict(comparison),
        "ci95": list(comparison.ci95),
        "difference": comparison.difference,
        "gained": [_change_document(change) for change in comparison.gained],
        "lost": [_change_document(change) for change in comparison.lost],
        "is_beyond_noise": comparison.is_beyond_noise,
        "is_regression": comparison.is_regression,
        "has_failed": comparison.has_failed,
    }


def render_comparison(comparison: Comparison) -> RenderableType:
    """The result, what was lost and gained, what else differs."""
    style = "bold red" if comparison.has_failed else "bold green" if comparison.difference > 0 else "bold"
    parts: list[RenderableType] = [
        Text(f"{_subject(comparison)}"),
        Text(verdict_words(comparison), style=style),
    ]
    for title, changes in (("lost", comparison.lost), ("gained", comparison.gained)):
        if changes:
            parts += [Text(), _table(title, changes)]
    parts += [Text(printable(line), style="dim") for line in _remarks(comparison)]
    return Group(*parts)


def markdown_of(comparison: Comparison) -> str:
    """The same as Markdown, for a pull request or a step summary."""
    mark = "❌" if comparison.has_failed else "✅"
    lines = [f"### {mark} {_subject(comparison)}", "", verdict_words(comparison)]
    for title, changes in (("lost", comparison.lost), ("gained", comparison.gained)):
        if changes:
            lines += ["", f"| {title}: {len(changes)} | before | after | |", "|---|--:|--:|---|"]
            lines += [f"| {' | '.join(map(_cell, _row(change)))} |" for change in changes[:_SHOWN_CHANGES]]
            if len(changes) > _SHOWN_CHANGES:
                lines.append(f"| and {len(changes) - _SHOWN_CHANGES} more | | | |")
    remarks = _remarks(comparison)
    return "\n".join([*lines, "", *(f"- {_cell(line)}" for line in remarks)]).rstrip() + "\n"


def _subject(comparison: Comparison) -> str:
    over = "sound problems" if comparison.is_sound_only else "problems"
    return f"{comparison.benchmark}, {comparison.rule}: B against A on {comparison.num_problems:,} {over}"


def _row(change: Change) -> tuple[str, str, str, str]:
    sides = [f"{passed}/{num}" for num, passed in (change.before, change.after)]
    return change.problem_id, *sides, "" if change.is_clear else "within noise"


def _table(title: str, changes: tuple[Change, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column(f"{title}: {len(changes)}")
    table.add_column("before", justify="right")
    table.add_column("after", justify="right")
    table.add_column("")
    for change in changes[:_SHOWN_CHANGES]:
        name, *cells = _row(change)
        table.add_row(Text(printable(name)), *cells)
    if len(changes) > _SHOWN_CHANGES:
        table.caption = f"and {len(changes) - _SHOWN_CHANGES} more: --json has all"
    return table


def _remarks(comparison: Comparison) -> list[str]:
    remarks = list(comparison.notes)
    if comparison.left_out:
        shown = ", ".join(comparison.left_out[:5]) + (", ..." if len(comparison.left_out) > 5 else "")
        remarks.append(f"{len(comparison.left_out)} problems are not compared, one side has too few samples: {shown}")
    return remarks


def _change_document(change: Change) -> dict[str, Any]:
    return {
        "problem_id": change.problem_id,
        "before": {"n": change.before[0], "passed": change.before[1]},
        "after": {"n": change.after[0], "passed": change.after[1]},
        "points": change.points,
        "p_value": change.p_value,
        "is_clear": change.is_clear,
    }


def _cell(text: str) -> str:
    return printable(text).replace("|", "\\|").replace("\n", " ")
