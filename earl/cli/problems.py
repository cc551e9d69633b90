"""`earl problems`: which families there are, problem sets made of them, and the proof of any set."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earl.cli.common import console, json_option, print_json
from earl.cli.problems_check import check_command
from earl.cli.problems_overlap import against_option, overlap_command
from toolchain.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from verifiers.types import Problem


@click.group()
def command() -> None:
    """List procedural families, make problem sets, prove problems, keep benchmarks out of them."""


command.add_command(check_command)
command.add_command(overlap_command)


@command.command("list", short_help="Families, their levels, how many designs.")
@json_option
def list_command(is_json: bool) -> None:
    """Families with their levels and the number of distinct designs (a lower bound)."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from hdl_bench.procedural.families import FAMILIES

    rows = [
        {
            "name": family.name,
            "summary": family.summary,
            "levels": list(family.levels),
            "num_distinct": family.num_distinct,
        }
        for family in sorted(FAMILIES.values(), key=lambda family: family.name)
    ]
    total = sum(family.num_distinct for family in FAMILIES.values())
    if is_json:
        print_json({"families": rows, "num_distinct": total})
        return
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        caption=f"{len(rows)} families, at least {total:,} distinct designs; a fifth is held out",
        caption_justify="left",
    )
    table.add_column("family", no_wrap=True)
    table.add_column("what")
    table.add_column("levels", no_wrap=True)
    table.add_column("distinct designs", justify="right")
    for row in rows:
        table.add_row(row["name"], row["summary"], _span(row["levels"]), f"{row['num_distinct']:,}")
    Console(highlight=False).print(table)


def _span(levels: list[int]) -> str:
    is_run = levels == list(range(levels[0], levels[-1] + 1))
    return f"{levels[0]}-{levels[-1]}" if is_run and len(levels) > 1 else ", ".join(map(str, levels))


@command.command("make", short_help="Make a set of problems.")
@click.option("--family", "families", multiple=True, metavar="F", help="Take this family (repeatable). Default: all.")
@click.option("--exclude-family", "excluded", multiple=True, metavar="F", help="Leave this family out (repeatable).")
@click.option("--level", "levels", multiple=True, type=click.IntRange(1, 5), help="1 easy to 5 hard. Default: 1 and 2.")
@click.option("--split", type=click.Choice(["train", "heldout"]), default="train", show_default=True)
@click.option("--num", "num_problems", type=click.IntRange(min=1), default=8, show_default=True)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@against_option
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write JSON lines, one problem a line.")
@json_option
def make_command(  # noqa: PLR0913  (one parameter an option)
    families: tuple[str, ...],
    excluded: tuple[str, ...],
    levels: tuple[int, ...],
    split: str,
    num_problems: int,
    seed: int,
    against: tuple[str, ...],
    out: Path | None,
    is_json: bool,
) -> None:
    """Make NUM problems of distinct designs, in turn over families and levels. Equal options, equal problems.

    None of the training split is a copy of one that `earl eval` holds out by default.
    """
    from rich.console import Console

    from earl.config import Config, EvalConfig, ProblemsConfig, RunConfig
    from earl.data import evaluation_problems, training_problems
    from hdl_bench.problem_files import write_problems
    from verifiers.problem_json import problem_to_json

    if against and split != "train":
        raise UsageError("--against keeps benchmarks out of training: use it with --split train")
    chosen = ProblemsConfig(
        families=families,
        exclude_families=excluded,
        levels=levels or (1, 2),
        num_problems=num_problems,
        exclude=against,
    )
    if split == "train":
        config = Config(run=RunConfig(seed=seed), problems=chosen)
        problems = training_problems(config, lambda line: console.print(line, markup=False))
    else:
        problems = evaluation_problems(Config(problems=chosen, eval=EvalConfig(num_problems=num_problems, seed=seed)))
    if out:
        write_problems(out, problems)
    if is_json:
        print_json({"problems": [problem_to_json(problem) for problem in problems]})
        return
    screen = Console(highlight=False)
    screen.print(_problem_table(problems))
    if out:
        screen.print(f"written to {out}", markup=False)
    else:
        _show(screen, problems[0])


def _problem_table(problems: "list[Problem]") -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    table.add_column("problem", no_wrap=True)
    table.add_column("level", justify="right")
    table.add_column("inputs")
    table.add_column("outputs")
    for problem in problems:
        ports = problem.ports or ()
        table.add_row(
            problem.problem_id,
            str(problem.difficulty),
            *(_port_words([p for p in ports if p.direction == way]) for way in ("input", "output")),
        )
    return table


def _port_words(ports: list[Any]) -> str:
    return " ".join(port.name if port.width == 1 else f"{port.name}[{port.width}]" for port in ports)


def _show(console: Any, problem: "Problem") -> None:
    """One problem in full: what the model reads, and the golden that judges."""
    from rich.syntax import Syntax

    console.print(f"\n[bold]{problem.problem_id}[/bold], as the model reads it:")
    console.print(problem.prompt.strip("\n"), markup=False, style="cyan")
    console.print("\n[bold]its golden[/bold], which the model never sees:")
    console.print(Syntax(problem.oracle.golden.rstrip(), "verilog", theme="ansi_light", background_color="default"))
