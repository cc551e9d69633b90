"""`earl train`: reinforcement learning."""

from pathlib import Path

import click

from earl.cli.common import config_arguments, console, open_farm, set_up_torch, verifier_option, with_verifier


@click.command()
@config_arguments
@click.option("--resume", type=click.Path(path_type=Path), help="Run folder to continue from its last checkpoint.")
@click.option("--overfit-one", is_flag=True, help="Self-test: one problem alone, until 90% of a step passes.")
@verifier_option
def command(
    config: Path, overrides: tuple[str, ...], resume: Path | None, overfit_one: bool, verifier: str | None
) -> None:
    """Train the policy of CONFIG by RL; writes a run folder with metrics, completions and checkpoints.

    Ctrl-C or SIGTERM checkpoints and exits; --resume RUN continues as if nothing had happened.
    """
    from earl.config import load_config
    from earl.data import training_problems
    from earl.jobs import Session, run_train
    from earl.methods import check_methods
    from earl.overfit import overfit_config, run_overfit
    from earl.run_folder import RunFolder
    from earl.signals import StopRequest

    settings = load_config(config, with_verifier(overrides, verifier))
    settings = overfit_config(settings, overrides) if overfit_one else settings
    set_up_torch(settings.run.num_threads, settings.model.ops)
    check_methods(settings)
    problems = training_problems(settings, console.print)
    with open_farm(settings) as farm, StopRequest() as stop:
        run = RunFolder.reopen(resume, settings) if resume else RunFolder.create(settings, default_name="train")
        session = Session(console=console, should_stop=lambda: stop.is_set)
        if overfit_one:
            result = run_overfit(settings, run, problems, farm, session, is_resumed=resume is not None)
            is_whole = result.is_learnt
            console.print(result.told)
        else:
            policy = run_train(settings, run, problems, farm, session, is_resumed=resume is not None)
            is_whole = policy is not None
    if stop.is_set and not is_whole:
        console.print(f"stopped; continue with: earl train {config} --resume {run.path}")
    if not is_whole:
        raise click.exceptions.Exit(1)
    if not overfit_one:
        console.print(f"policy: {policy}")
