"""`earl rollouts`: a rollout worker for a trainer on this machine or another one."""

from pathlib import Path

import click

from earl.cli.common import console, set_up_torch, verifier_option


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@verifier_option
def command(run: Path, verifier: str | None) -> None:
    """Sample and judge for whoever trains in the run folder RUN, until that ends.

    For training with rollout.num_workers above 0. RUN lies on a file system that trainer and workers share, and the
    model under the same path; any number may join, also while training goes on.
    """
    from earl.asynchronous.worker import join_session
    from earl.run_folder import RunFolder

    settings = RunFolder.open(run).config()
    if verifier is not None:
        settings = settings.model_copy(update={"verifier": settings.verifier.model_copy(update={"address": verifier})})
    set_up_torch(settings.run.num_threads, settings.model.ops)
    console.print(f"samples for the trainer in {run}, or waits ten minutes for one; Ctrl-C leaves")
    join_session(run, settings)
    console.print(f"the trainer in {run} has ended")
