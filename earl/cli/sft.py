"""`earl sft`: warm start."""

from pathlib import Path

import click

from earl.cli.common import config_arguments, console, force_resume_option, set_up_torch, tell


@click.command()
@config_arguments
@click.option("--resume", type=click.Path(path_type=Path), help="Run folder of a stopped warm start to continue.")
@force_resume_option
def command(config: Path, overrides: tuple[str, ...], resume: Path | None, is_forced: bool) -> None:
    """Warm-start the policy of CONFIG; writes a run folder with the policy in Hugging Face layout."""
    from earl.config import load_config
    from earl.data import warm_start_problems
    from earl.jobs import Session, run_sft
    from earl.resume_check import reopen
    from earl.run_folder import RunFolder
    from earl.signals import StopRequest

    settings = load_config(config, overrides)
    set_up_torch(settings.run.num_threads, settings.model.ops)
    problems = warm_start_problems(settings, console.print)
    if resume:
        run = reopen(resume, settings, problems, is_forced=is_forced, tell=tell)
    else:
        run = RunFolder.create(settings, default_name="sft")
    with StopRequest() as stop:
        session = Session(console=console, should_stop=lambda: stop.is_set)
        policy = run_sft(settings, run, problems, session, is_resumed=resume is not None)
    if policy is None:
        console.print(f"stopped; continue with: earl sft {config} --resume {run.path}")
        raise click.exceptions.Exit(1)
    console.print(f"policy: {policy}")
