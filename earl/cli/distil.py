"""`earl distil`: self-distillation from verified completions."""

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
@click.option("--data-only", is_flag=True, help="Write the data set; train nothing.")
@verifier_option
def command(
    config: Path,
    overrides: tuple[str, ...],
    resume: Path | None,
    is_forced: bool,
    data_only: bool,
    verifier: str | None,
) -> None:
    """Sample the policy of CONFIG on its training problems, keep what passes, and train on it.

    The run folder gets dataset.jsonl, one verified completion a row, and the policy that has learnt from it. With
    --data-only, `earl sft CONFIG 'sft.files=["RUN/dataset.jsonl"]'` trains later, or trains another model.
    """
    from earl.config import load_config

    settings = load_config(config, with_verifier(overrides, verifier))  # first: what is wrong with it is told at once

    from earl.data import training_problems
    from earl.guard import TrainingDiverged
    from earl.jobs import Session, run_distil, run_sft
    from earl.methods import check_methods
    from earl.resume_check import identity_of, keep_identity, problem_digests, reopen
    from earl.run_folder import RunFolder
    from earl.sft_data import split_validation
    from earl.signals import StopRequest

    set_up_torch(settings.run.num_threads, settings.model.ops)
    check_methods(settings)
    problems = training_problems(settings, console.print)
    digests = problem_digests(problems)
    run = reopen(resume, settings, digests, is_forced=is_forced, tell=tell) if resume else None
    policy = None

    def tell_how_to_go_on() -> None:
        if run is not None:
            tell(f"stopped; continue with: earl distil {config} --resume {run.path}")

    with StopRequest() as stop:
        session = Session(console=console, should_stop=lambda: stop.is_set)
        try:
            with open_farm(settings) as farm:
                if run is None:
                    run = RunFolder.create(settings, default_name="distil")
                    keep_identity(run, identity_of(settings, digests))
                examples = run_distil(settings, run, problems, farm, session)
            if examples is not None and not data_only:
                data = split_validation(examples, settings)
                policy = run_sft(settings, run, data, session, title="distil", is_resumed=resume is not None)
        except (InfrastructureError, TrainingDiverged):
            tell_how_to_go_on()
            raise
    if examples is None or (policy is None and not data_only):
        tell_how_to_go_on()
        raise click.exceptions.Exit(1)
    console.print(f"data set: {run.path / 'dataset.jsonl'}")
    if policy is not None:
        console.print(f"policy: {policy}")
