"""`earl eval`: pass rates of a policy on held-out problems."""

import dataclasses
from pathlib import Path

import click

from earl.cli.common import (
    config_arguments,
    console,
    json_option,
    open_farm,
    print_json,
    set_up_torch,
    verifier_option,
    with_verifier,
)


@click.command()
@config_arguments
@click.option("--out", type=click.Path(path_type=Path), help="Also write all scores to this JSON file.")
@verifier_option
@json_option
def command(config: Path, overrides: tuple[str, ...], out: Path | None, verifier: str | None, is_json: bool) -> None:
    """Measure the policy of CONFIG on its held-out problems (pass another policy as model.path=FOLDER)."""
    from earl.config import load_config
    from earl.data import evaluation_problems
    from earl.jobs import Session, run_eval
    from earl.run_folder import package_versions, write_atomically
    from earl.tables import evaluation_table

    settings = load_config(config, with_verifier(overrides, verifier))
    set_up_torch(settings.run.num_threads, settings.model.ops)
    problems = evaluation_problems(settings)
    with open_farm(settings) as farm:
        evaluation = run_eval(settings, problems, farm, Session(console=console, should_stop=lambda: False))
    document = {
        "model": settings.model.path,
        "results": evaluation.summary(),
        "by_family": evaluation.by_family(),
        "problems": [dataclasses.asdict(score) for score in evaluation.scores],
        "config": settings.model_dump(mode="json"),
        "versions": package_versions(),
    }
    if out:
        write_atomically(out, document)
    if is_json:
        print_json(document)
    else:
        console.print(evaluation_table([(settings.model.path, evaluation)]))
