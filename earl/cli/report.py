"""`earl report`: the HTML report of a run."""

from pathlib import Path

import click

from earl.cli.common import set_up_torch


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
def command(run: Path) -> None:
    """Write RUN/report.html, one file that needs no network, and print its path."""
    set_up_torch(0)
    from earl.report import write_report

    click.echo(write_report(run))
