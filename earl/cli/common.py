"""What commands share: options, the console (logs go to stderr, documents to stdout), and set-up of torch and farm."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from earl.torch_setup import set_up_torch as set_up_torch

if TYPE_CHECKING:
    from rich.progress import Progress

    from earl.config import Config
    from verifiers.connect import Judge

console = Console(stderr=True, highlight=False)


def config_arguments(command: Callable[..., Any]) -> Callable[..., Any]:
    """CONFIG and dotted overrides."""
    command = click.argument("overrides", nargs=-1, metavar="[SECTION.KEY=VALUE]...")(command)
    return click.argument("config", type=click.Path(path_type=Path))(command)


json_option = click.option("--json", "is_json", is_flag=True, help="Print one JSON document on stdout.")


def resume_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--resume` and `--force-resume`, as `resume` and `is_forced`: see `earl.resume_check.reopen`."""
    what = "Resume although config, problems or model have changed."
    command = click.option("--force-resume", "is_forced", is_flag=True, help=what)(command)
    what = "Run folder to continue, stopped or killed, or a checkpoint in it."
    return click.option("--resume", type=click.Path(path_type=Path), help=what)(command)


def tell(line: str) -> None:
    """A plain line for the person who watches; never wrapped, so that paths can be copied."""
    console.print(line, markup=False, soft_wrap=True)


def print_json(document: Any) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(document, indent=2))


def progress_bar(console: Console) -> "Progress":
    """A live line: how many of all are done, time gone and time left, what is under way. Gone when it ends."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    return Progress(*columns, TextColumn("{task.description}", markup=False), console=console, transient=True)


def cache_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--cache` and `--no-cache`, as `cache` and `is_uncached`: see `cache_path`."""
    command = click.option("--no-cache", "is_uncached", is_flag=True, help="Judge everything again.")(command)
    return click.option(
        "--cache",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Where verdicts, golden traces and proofs are kept.  [default: verdicts.db in $EARL_CACHE]",
    )(command)


def cache_path(cache: Path | None, is_uncached: bool) -> Path | None:
    """The file that a scored benchmark's verdicts and proofs are kept in; None: nowhere."""
    from earl.model_source import cache_dir

    return None if is_uncached else cache or cache_dir() / "verdicts.db"


verifier_option = click.option(
    "--verifier",
    metavar="ADDRESS",
    help="Who judges: local, http://HOST:PORT, ray, ray://HOST:PORT or auto. Short for verifier.address=ADDRESS.",
)


def with_verifier(overrides: tuple[str, ...], verifier: str | None) -> tuple[str, ...]:
    """The overrides, and last the one that `--verifier` stands for, if it was given."""
    return overrides if verifier is None else (*overrides, f"verifier.address={verifier}")


def open_farm(config: "Config") -> "Judge":
    """Who judges, as a config says. ToolNotFound when that is this machine and there is no simulator."""
    from earl.verifier import open_judge

    judge = open_judge(config.verifier)
    if config.verifier.address == "auto":
        console.print(f"verifier: {type(judge).__name__}, rung {judge.isolation}")
    return judge
