"""A results document on a terminal: the rates by both rules, how rows failed, where the two rules part ways."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from earl.printable import printable

Document = Mapping[str, Any]

_SHOWN_DISAGREEMENTS = 20  # of each kind
_SHOWN_CONFIG = ("model", "engine", "temperature", "top_p", "seed", "max_tokens", "prompt_style", "num_shots")


def render_results(document: Document) -> RenderableType:
    """All that a person reads after a score."""
    parts: list[RenderableType] = [rate_table(document), Text(), row_table(document), Text(), *_circumstances(document)]
    if groups := document["results"]["by_category"]:
        parts[2:2] = [group_table("category", groups), Text()]
    if groups := document["results"]["by_difficulty"]:
        parts[2:2] = [group_table("difficulty", groups), Text()]
    return Group(*parts, *disagreement_tables(document["disagreements"]))


def rate_rows(document: Document) -> list[tuple[str, str, str]]:
    """(what, over all problems, over the sound ones) of each rate, as text."""
    rows = []
    results = document["results"]
    for rule, words in (("hardened", "hardened"), ("compatible", "upstream's rule")):
        blocks = results[rule] or {"all": {}, "sound": {}}
        for name in blocks["all"]:
            rows.append((f"{name}, {words}", *(rate_text(blocks[side].get(name)) for side in ("all", "sound"))))
        if "upstream" in blocks:
            rows.append(("pass@1, upstream's arithmetic", rate_text(blocks["upstream"]), ""))
    rows += [(f"{name.replace('_', ' ')} rate", rate_text(rate), "") for name, rate in results["rates"].items()]
    return rows + [(f"{name} of passes, golden = 1", mean, "") for name, mean in size_rows(document)]


def size_rows(document: Document) -> list[tuple[str, str]]:
    """(cells, wires or depth, geometric mean of the ratio to the golden) where synthesis was asked for."""
    sizes = document["results"]["synthesis"] or {}
    means = [(name, figure["geometric_mean"]) for name, figure in sizes.items() if name != "num_passes"]
    return [(name, "-" if mean is None else f"{mean:.2f}") for name, mean in means]


def rate_text(rate: Mapping[str, Any] | None) -> str:
    """A rate in per cent with its interval, or - for none."""
    if rate is None:
        return "-"
    if "ci95" not in rate:
        return f"{rate['value']:.1%}"
    low, high = rate["ci95"]
    return f"{rate['value']:.1%}  [{low:.1%}, {high:.1%}]"


def rate_table(document: Document) -> Table:
    """The rates, over all sampled problems and over those without an erratum."""
    summary = document["summary"]
    num_sound = summary["num_problems_sampled"] - summary["num_problems_with_errata"]
    table = _table(f"{document['benchmark']}: {summary['num_rows']:,} rows, {_of_problems(summary)}")
    table.add_column("")
    table.add_column(f"all {summary['num_problems_sampled']:,}", justify="right")
    table.add_column(f"sound {num_sound:,}", justify="right")
    for row in rate_rows(document):
        table.add_row(*row)
    return table


def _of_problems(summary: Document) -> str:
    return f"{summary['num_problems_sampled']:,} of {summary['num_problems']:,} problems"


def row_table(document: Document) -> Table:
    """How the rows ended, by our outcomes, by proofs, by upstream's letters."""
    summary = document["summary"]
    table = _table("how rows ended")
    table.add_column("")
    table.add_column("rows", justify="right")
    for outcome, count in summary["outcomes"].items():
        table.add_row(outcome, f"{count:,}")
    table.add_section()
    for proof, count in summary["proofs"].items():
        table.add_row(f"proof: {proof}", f"{count:,}")
    table.add_section()
    for letter, count in summary["letters"].items():
        table.add_row(f"upstream {letter}  {document['letters'].get(letter, '')}", f"{count:,}")
    return table


def group_table(what: str, groups: Mapping[str, Mapping[str, Any]]) -> Table:
    """The hardened rates of each category or difficulty."""
    names = [*dict.fromkeys(name for block in groups.values() for name in block)]
    table = _table("")
    table.add_column(what)
    table.add_column("problems", justify="right")
    for name in names:
        table.add_column(name, justify="right")
    for group, block in groups.items():
        num = max((rate["n_problems"] for rate in block.values()), default=0)
        table.add_row(Text(printable(group)), f"{num:,}", *(rate_text(block.get(name)) for name in names))
    return table


def disagreement_tables(disagreements: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Where upstream's rule and ours part ways, and why: first what upstream would have passed."""
    tables = []
    for passes, words in ((True, "upstream's rule passes and ours does not"), (False, "ours passes, not upstream's")):
        rows = [row for row in disagreements if row["compatible"] is passes]
        table = _table(f"\n{words}: {len(rows)} rows")
        for heading in ("problem", "row", "why"):
            table.add_column(heading)
        for row in rows[:_SHOWN_DISAGREEMENTS]:
            table.add_row(Text(row["problem_id"]), str(row["sample_idx"]), Text(printable(row["reason"])))
        if (hidden := len(rows) - _SHOWN_DISAGREEMENTS) > 0:
            table.caption = f"and {hidden} more: `earl report` lists all"
        tables += [table] if rows else []
    return tables


def config_text(document: Document, *, with_model: bool = True) -> str:
    """n, temperature, top_p, seed and what else is known of the sampling; what is not known is said to be so."""
    nums, config = document["n-samples"], document["config"]
    fewest, most = nums["rows_per_problem_min"], nums["rows_per_problem_max"]
    said = [f"n {fewest}" if fewest == most else f"n {fewest} to {most}"]
    for name in _SHOWN_CONFIG if with_model else _SHOWN_CONFIG[1:]:
        value = config.get(name)
        if value is not None or name in ("model", "temperature", "top_p", "seed"):
            said.append(f"{name} {'not given' if value is None else value}")
    return ", ".join(said)


def _circumstances(document: Document) -> list[Text]:
    versions = ", ".join(f"{name} {version}" for name, version in document["versions"].items())
    hashes = ", ".join(f"{name} {value[:12]}" for name, value in document["hashes"].items() if value)
    lines = [config_text(document), versions, f"hashes: {hashes}"]
    errors = document["results"]["tool_errors"]
    if errors["num_rows"]:
        words = f"{errors['num_rows']} rows could not be judged and left n: see `earl doctor` and the diagnostics"
        if errors["problems_without_rows"]:
            words += f"; no row is left of {', '.join(errors['problems_without_rows'])}"
        lines.append(words)
    return [Text(printable(line), style="dim") for line in lines]


def _table(title: str) -> Table:
    return Table(box=box.SIMPLE_HEAD, show_edge=False, title=title or None, title_justify="left")
