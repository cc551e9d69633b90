"""`earl compare`: whether a model got worse, problem by problem, for people and for CI."""

import sys
from pathlib import Path

import click

from earl.cli.common import json_option, print_json

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("before", metavar="A.json", type=_FILE)
@click.argument("after", metavar="B.json", type=_FILE)
@click.option("--metric", default="pass@1", show_default=True, help="pass@1, pass@5, ...")
@click.option("--rule", type=click.Choice(["hardened", "compatible"]), default="hardened", show_default=True)
@click.option("--sound", "is_sound_only", is_flag=True, help="Without the problems that have an erratum.")
@click.option(
    "--fail-below", type=click.FloatRange(min=0), metavar="POINTS", help="Also fail on a fall of more points."
)
@click.option("--junit", type=_FILE, help="Write JUnit XML.")
@click.option("--github", "is_github", is_flag=True, help="Annotate the run and add to its step summary.")
@click.option("--markdown", type=_FILE, help="Write the comparison as Markdown.")
@json_option
def command(  # noqa: PLR0913  (one parameter an option)
    before: Path,
    after: Path,
    metric: str,
    rule: str,
    is_sound_only: bool,
    fail_below: float | None,
    junit: Path | None,
    is_github: bool,
    markdown: Path | None,
    is_json: bool,
) -> None:
    """Compare the results B with A, as `earl score --json` and `earl eval` write them.

    With one answer a problem the test is McNemar's, exact; with more it is the paired bootstrap over problems.

    Exit codes: 0 no regression, 1 a regression beyond noise (or of more than --fail-below), 2 not comparable.
    """
    from rich.console import Console

    from earl.show_compare import comparison_document, markdown_of, render_comparison
    from hdl_bench.compare import compare, read_results
    from hdl_bench.gate_reports import annotations, append_step_summary, write_junit
    from hdl_bench.text_files import write_text

    sides = [read_results(path) for path in (before, after)]
    found = compare(*sides, metric=metric, rule=rule, is_sound_only=is_sound_only, fail_below=fail_below)
    if junit:
        write_junit(junit, found)
    if markdown:
        write_text(markdown, markdown_of(found))
    if is_github:
        append_step_summary(markdown_of(found))
        for line in annotations(found):
            click.echo(line, err=True)  # GitHub reads commands from both streams
    if is_json:
        print_json(comparison_document(found))
    else:
        Console(highlight=False).print(render_comparison(found))
    sys.exit(1 if found.has_failed else 0)
