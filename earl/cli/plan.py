"""`earl plan`: what a run will take, before it runs."""

from pathlib import Path

import click

from earl.cli.common import config_arguments, json_option, print_json, set_up_torch, verifier_option, with_verifier


@click.command()
@config_arguments
@verifier_option
@json_option
def command(config: Path, overrides: tuple[str, ...], verifier: str | None, is_json: bool) -> None:
    """Say what `earl train CONFIG` will take in tokens, memory, time and disk, and all that is wrong with CONFIG.

    Reads no weights and writes nothing. Exit codes: 0 when the run can start, 2 when there are errors.
    """
    from rich.console import Console

    from earl.plan.document import make_plan
    from earl.plan.table import plan_view

    set_up_torch(0)
    document = make_plan(config, with_verifier(overrides, verifier))
    if is_json:
        print_json(document)
    else:
        Console(highlight=False).print(plan_view(document))
    if not document["ok"]:
        raise click.exceptions.Exit(2)
