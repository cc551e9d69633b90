"""`earl train`: reinforcement learning."""

from pathlib import Path

import click

from earl.cli.common import (
    config_arguments,
    console,
    open_farm,
    resume_options,
    set_up_torch,
    tell,
    verifier_option,
    with_verifier,
)
from toolchain.errors import InfrastructureError


@click.command()
@config_arguments
@resume_options
@click.option("--overfit-one", is_flag=True, help="Self-test: one problem alone, until 90% of a step passes.")
@verifier_option
def command(
    config: Path,
    overrides: tuple[str, ...],
    resume: Path | None,
    is_forced: bool,
    overfit_one: bool,
    verifier: str | None,
) -> None:
    """Train the policy of CONFIG by RL; writes a run folder with metrics, completions and checkpoints.

    Ctrl-C or SIGTERM checkpoints and exits; --resume RUN continues as if nothing had happened, after a kill too.
    """
    from earl.config import load_config

    settings = load_config(config, with_verifier(overrides, verifier))  # first: what is wrong with it is told at once

    from earl.data import training_problems
    from earl.guard import TrainingDiverged
    from earl.jobs import Session, run_train
    from earl.methods import check_methods
    from earl.overfit import chosen_before, overfit_config, run_overfit
    from earl.resume_check import problem_digests, reopen
    from earl.run_folder import RunFolder
    from earl.signals import StopRequest

    settings = overfit_config(settings, overrides) if overfit_one else settings
    set_up_torch(settings.run.num_threads, settings.model.ops)
    check_methods(settings)
    problems = training_problems(settings, console.print)
    run = None
    if resume:
        known = chosen_before(resume, problems) if overfit_one else problems
        run = reopen(resume, settings, problem_digests(known), is_forced=is_forced, tell=tell)
    with open_farm(settings) as farm, StopRequest() as stop:
        run = run or RunFolder.create(settings, default_name="train")
        session = Session(console=console, should_stop=lambda: stop.is_set)
        how_to_go_on = f"stopped; continue with: earl train {config} --resume {run.path}"
        try:
            if overfit_one:
                result = run_overfit(settings, run, problems, farm, session, is_resumed=resume is not None)
                is_whole = result.is_learnt
                console.print(result.told)
            else:
                policy = run_train(settings, run, problems, farm, session, is_resumed=resume is not None)
                is_whole = policy is not None
        except (InfrastructureError, TrainingDiverged):
            tell(how_to_go_on)
            raise
    if stop.is_set and not is_whole:
        tell(how_to_go_on)
    if not is_whole:
        raise click.exceptions.Exit(1)
    if not overfit_one:
        console.print(f"policy: {policy}")
