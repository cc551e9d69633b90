"""`earl eval`: pass rates of a policy on its held-out problems, or of any model on a benchmark."""

import dataclasses
from pathlib import Path
from typing import Any

import click

from earl.cli.common import console, json_option, open_farm, print_json, set_up_torch, verifier_option, with_verifier
from earl.cli.eval_options import BenchmarkOptions, benchmark_options
from toolchain.errors import UsageError


@click.command()
@click.argument("config", type=click.Path(path_type=Path), required=False)
@click.argument("overrides", nargs=-1, metavar="[SECTION.KEY=VALUE]...")
@click.option("--out", type=click.Path(path_type=Path), help="Also write all scores to this JSON file.")
@verifier_option
@json_option
@benchmark_options
@click.pass_context
def command(
    context: click.Context,
    config: Path | None,
    overrides: tuple[str, ...],
    out: Path | None,
    verifier: str | None,
    is_json: bool,
    **options: Any,
) -> None:
    """Measure a model: on a benchmark, or a policy on the held-out problems of CONFIG.

    \b
    earl eval --benchmark verilog-eval-v2-spec --root ~/verilog-eval --model FOLDER_OR_NAME
    earl eval CONFIG model.path=FOLDER

    On a benchmark it samples, judges meanwhile, and keeps each sample at once: after a kill, the same command with
    --resume RUN goes on where it was. Exit codes: 0 scored, 1 stopped before the end, 2 usage, 3 infrastructure.
    """
    if options["benchmark"] is not None:
        from earl.cli.eval_benchmark import run

        if config is not None:
            raise UsageError(f"--benchmark and a config ({config}) do not go together; give one of them")
        document = run(BenchmarkOptions(**options), verifier or "local", is_quiet=is_json)
        if out:
            from earl.run_folder import write_atomically

            write_atomically(out, document)
        if is_json:
            print_json(document)
        return
    if config is None:
        raise UsageError("what is to be measured? Give --benchmark NAME --root DIR --model MODEL, or a CONFIG")
    for parameter in context.command.params:
        is_given = context.get_parameter_source(parameter.name) is click.core.ParameterSource.COMMANDLINE
        if parameter.name in options and is_given:
            raise UsageError(
                f"{parameter.opts[0]} is for --benchmark; for a config's problems set eval.* and sampling.*"
            )
    _measure_policy(config, with_verifier(overrides, verifier), out, is_json=is_json)


def _measure_policy(config: Path, overrides: tuple[str, ...], out: Path | None, *, is_json: bool) -> None:
    from earl.config import load_config

    settings = load_config(config, overrides)  # first: what is wrong with it is told at once

    from earl.data import evaluation_problems
    from earl.jobs import Session, run_eval
    from earl.run_folder import package_versions, write_atomically
    from earl.tables import evaluation_table

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
