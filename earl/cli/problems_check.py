"""`earl problems check`: proves problems by their goldens, cheats and mutants, and quarantines what fails."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from earl.cli.common import console, json_option, print_json, progress_bar
from earl.printable import printable

if TYPE_CHECKING:
    from verifiers.oracle_gate import OracleGate
    from verifiers.problem_check import ProblemCheck
    from verifiers.types import Problem

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command("check", short_help="Prove that problems judge rightly; list those that do not.")
@click.argument("files", nargs=-1, type=_FILE, metavar="[FILE]...")
@click.option(
    "--num", "num_problems", type=click.IntRange(min=1), help="Without FILE: how many problems. Default: one a family."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Draws stimulus and mutants.")
@click.option("--workers", "num_workers", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--formal/--no-formal", "is_formal", default=True, help="Prove passing mutants equivalent. Default: yes.")
@click.option("--out", type=_FILE, help="Write the sound problems, one a line.")
@click.option("--quarantine", type=_FILE, help="Write the other problems' checks, with the reasons.")
@json_option
def check_command(  # noqa: PLR0913  (one parameter an option)
    files: tuple[Path, ...],
    num_problems: int | None,
    seed: int,
    num_workers: int,
    is_formal: bool,
    out: Path | None,
    quarantine: Path | None,
    is_json: bool,
) -> None:
    """Prove each problem of the FILEs, or procedural ones.

    A sound problem's golden passes and repeats itself; empty modules, constants and cheats fail; and so do at least
    95 % of up to 50 mutants of the golden, those proved equivalent left out.

    Exit codes: 0 all are sound, 1 some are not, 2 usage, 3 a tool is missing or failed.
    """
    import json

    from rich.console import Console

    from earl.show_check import check_document, render_checks, summary_document
    from hdl_bench.problem_files import read_problems, write_problems
    from hdl_bench.text_files import write_text

    problems = [problem for path in files for problem in read_problems(path)] or _procedural(num_problems, seed)
    with _gate(num_workers=num_workers, is_formal=is_formal, seed=seed) as gate:
        checks = list(_with_progress(gate.check(problems), len(problems)))
    documents = [check_document(check) for check in checks]
    if out:
        write_problems(out, [p for p, check in zip(problems, checks, strict=True) if check.is_sound])
    if quarantine:
        failed = [document for document, check in zip(documents, checks, strict=True) if check.is_quarantined]
        write_text(quarantine, json.dumps({"problems": failed}, indent=2) + "\n")
    if is_json:
        print_json({"problems": documents, "is_formal": is_formal, **summary_document(checks)})
    else:
        Console(highlight=False).print(render_checks(checks))
    sys.exit(3 if any(check.failures for check in checks) else 1 if any(check.reasons for check in checks) else 0)


def _procedural(num_problems: int | None, seed: int) -> "list[Problem]":
    """Problems of all families in turn, from the lowest level up."""
    from hdl_bench.procedural.families import FAMILIES
    from hdl_bench.procedural.family import LEVELS
    from hdl_bench.procedural.problems import make_problems

    return make_problems(
        families=None, levels=LEVELS, split="train", num_problems=num_problems or len(FAMILIES), seed=seed
    )


@contextmanager
def _gate(*, num_workers: int, is_formal: bool, seed: int) -> "Iterator[OracleGate]":
    from verifiers.farm import Farm
    from verifiers.formal import FormalProver
    from verifiers.oracle_gate import OracleGate

    with ExitStack() as stack:
        # First the prover: without it no farm need start.
        prover = stack.enter_context(FormalProver()) if is_formal else None
        farm = stack.enter_context(Farm(num_workers=num_workers))
        yield stack.enter_context(OracleGate(farm=farm, prover=prover, seed=seed))


def _with_progress(checks: "Iterator[ProblemCheck]", num_problems: int) -> "Iterator[ProblemCheck]":
    """The checks as they come, told on stderr: a live line, and a line for each problem that fails."""
    with progress_bar(console) as progress:
        task = progress.add_task("goldens and mutants", total=num_problems)
        for check in checks:
            progress.update(task, advance=1, description=printable(check.problem_id))
            if not check.is_sound:
                console.print(
                    f"{printable(check.problem_id)}: {printable((*check.failures, *check.reasons)[0])}", markup=False
                )
            yield check
