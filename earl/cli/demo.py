"""`earl demo`: the whole job on one config."""

from pathlib import Path

import click

from earl.cli.common import config_arguments, console, open_farm, set_up_torch


@click.command()
@config_arguments
def command(config: Path, overrides: tuple[str, ...]) -> None:
    """Warm start, evaluate, train, evaluate, report; prints the run folder, which holds summary.json."""
    from earl.config import load_config

    settings = load_config(config, overrides)  # first: what is wrong with it is told at once

    from earl.demo import run_demo
    from earl.jobs import Session
    from earl.methods import check_methods
    from earl.run_folder import RunFolder
    from earl.signals import StopRequest

    check_methods(settings)
    set_up_torch(settings.run.num_threads, settings.model.ops)
    with open_farm(settings) as farm, StopRequest() as stop:
        run = RunFolder.create(settings, default_name="demo")
        is_whole = run_demo(settings, run, farm, Session(console=console, should_stop=lambda: stop.is_set))
    if not is_whole:
        console.print(f"stopped before the end; what is finished lies in {run.path}")
        raise click.exceptions.Exit(1)
    click.echo(run.path)
