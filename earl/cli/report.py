"""`earl report`: pages of a training run, of results, of many results."""

from pathlib import Path

import click

from earl.cli.common import console, set_up_torch

_OUT = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="RUN | RESULTS.json...", type=click.Path(path_type=Path))
@click.option("--html", type=_OUT, help="Write the results as one HTML file that needs no network.")
@click.option("--markdown", type=_OUT, help="Write the results as Markdown.")
@click.option("--leaderboard", is_flag=True, help="Rank many results files in one page.")
def command(paths: tuple[Path, ...], html: Path | None, markdown: Path | None, leaderboard: bool) -> None:
    """Write RUN/report.html and print its path; or show results, and write them as --html or --markdown.

    With --leaderboard several results files become one page.
    """
    if paths[0].is_dir():
        if len(paths) > 1 or html or markdown or leaderboard:
            raise click.UsageError(f"{paths[0]} is a folder: give one run and no option, or results files")
        set_up_torch(0)
        from earl.report import write_report

        click.echo(write_report(paths[0]))
        return
    _report_results(paths, html=html, markdown=markdown, is_board=leaderboard)


def _report_results(paths: tuple[Path, ...], *, html: Path | None, markdown: Path | None, is_board: bool) -> None:
    from rich.console import Console

    from earl.report import results_page
    from earl.show_results import render_results
    from hdl_bench.compare import read_results
    from hdl_bench.text_files import write_text

    if len(paths) > 1 and not is_board:
        raise click.UsageError(f"{len(paths)} files were given: rank them with --leaderboard, or give one")
    documents = [read_results(path) for path in paths]
    pages = (
        (html, results_page.leaderboard_html if is_board else lambda all: results_page.results_html(all[0])),
        (
            markdown,
            results_page.leaderboard_markdown if is_board else lambda all: results_page.results_markdown(all[0]),
        ),
    )
    for path, render in pages:
        if path:
            write_text(path, render(documents))
            console.print(f"wrote {path}", markup=False)
    if not (html or markdown):
        if is_board:
            click.echo(results_page.leaderboard_markdown(documents), nl=False)
        else:
            Console(highlight=False).print(render_results(documents[0]))
