"""`earl sft`: supervised training."""

from pathlib import Path

import click

from earl.cli.common import config_arguments, console, resume_options, set_up_torch, tell
from toolchain.errors import InfrastructureError


@click.command()
@config_arguments
@resume_options
def command(config: Path, overrides: tuple[str, ...], resume: Path | None, is_forced: bool) -> None:
    """Train the policy of CONFIG on prompts and completions; writes a run folder with the policy in Hugging Face
    layout.

    \b
    earl sft CONFIG                               on the goldens of procedural problems, or of problems.files
    earl sft CONFIG 'sft.files=["mine.jsonl"]'    on rows of prompt and completion
    """
    from earl.config import load_config

    settings = load_config(config, overrides)  # first: what is wrong with it is told at once

    from earl.guard import TrainingDiverged
    from earl.jobs import Session, run_sft
    from earl.resume_check import identity_of, keep_identity, reopen
    from earl.run_folder import RunFolder
    from earl.sft_data import sft_data
    from earl.sft_loss import make_sft_loss
    from earl.signals import StopRequest

    set_up_torch(settings.run.num_threads, settings.model.ops)
    make_sft_loss(settings.sft.loss)
    data = sft_data(settings, console.print)
    if resume:
        run = reopen(resume, settings, data.digests, is_forced=is_forced, tell=tell)
    else:
        run = RunFolder.create(settings, default_name="sft")
        keep_identity(run, identity_of(settings, data.digests))
    how_to_go_on = f"stopped; continue with: earl sft {config} --resume {run.path}"
    with StopRequest() as stop:
        session = Session(console=console, should_stop=lambda: stop.is_set)
        try:
            policy = run_sft(settings, run, data, session, is_resumed=resume is not None)
        except (InfrastructureError, TrainingDiverged):
            tell(how_to_go_on)
            raise
    if policy is None:
        tell(how_to_go_on)
        raise click.exceptions.Exit(1)
    console.print(f"policy: {policy}")
