"""`earl bench check`: which testbenches of a benchmark are weak."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from earl.cli.common import console, progress_bar
from earl.printable import printable

if TYPE_CHECKING:
    from hdl_bench.bench_check import BenchCheck

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.group()
def command() -> None:
    """Look into a benchmark itself."""


@command.command("check", short_help="Run goldens, empty modules, mutants and cheats through a benchmark.")
@click.option("--benchmark", "name", required=True, help="verilog-eval-v2-spec, rtllm-v2, ... (see `earl score`).")
@click.option("--root", type=click.Path(path_type=Path), required=True, help="The checkout, or a file of problems.")
@click.option("--json", "out", type=_FILE, help="Write all checks to this file.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first problems.")
@click.option("--mutants", "num_mutants", type=click.IntRange(min=0), default=20, show_default=True, help="A problem.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Draws stimulus and mutants.")
@click.option("--workers", "num_workers", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--formal/--no-formal", "is_formal", default=True, help="Prove passing mutants equivalent. Default: yes.")
def check_command(  # noqa: PLR0913  (one parameter an option)
    name: str,
    root: Path,
    out: Path | None,
    limit: int | None,
    num_mutants: int,
    seed: int,
    num_workers: int,
    is_formal: bool,
) -> None:
    """Show which problems of a benchmark have weak testbenches, as it stands and as we judge it.

    Each golden must pass, its mutants, the empty module and cheats must fail: by the testbench alone, by upstream's
    rule, and hardened.

    Exit codes: 0 all problems were checked, whatever was found; 2 usage; 3 a tool is missing or failed.
    """
    from itertools import islice

    from rich.console import Console

    from earl.run_folder import write_atomically
    from earl.show_bench import bench_document, bench_summary, render_bench
    from hdl_bench.bench_check import check_benchmark
    from hdl_bench.benchmarks import load_benchmark
    from hdl_bench.score import Upstream
    from verifiers.farm import Farm
    from verifiers.formal import FormalProver
    from verifiers.oracle_gate import OracleGate
    from verifiers.simulate import local_executor

    benchmark = load_benchmark(name, root)
    problems = list(islice(benchmark.problems.values(), limit))
    with ExitStack() as stack:
        prover = stack.enter_context(FormalProver()) if is_formal else None
        farm = stack.enter_context(Farm(num_workers=num_workers))
        gate = stack.enter_context(OracleGate(farm=farm, prover=prover, seed=seed, num_mutants=num_mutants))
        upstream = Upstream([local_executor() for _ in range(num_workers)]) if benchmark.compatible else None
        found = check_benchmark(benchmark, problems, gate=gate, farm=farm, upstream=upstream)
        checks = list(_with_progress(found, len(problems)))
    if out:
        documents = [bench_document(check) for check in checks]
        options = {"seed": seed, "num_mutants": num_mutants, "is_formal": is_formal}
        write_atomically(out, {"benchmark": name, **options, "problems": documents, "summary": bench_summary(checks)})
    Console(highlight=False).print(render_bench(benchmark.name, checks))
    sys.exit(3 if any(check.check.failures for check in checks) else 0)


def _with_progress(checks: "Iterable[BenchCheck]", num_problems: int) -> "Iterator[BenchCheck]":
    with progress_bar(console) as progress:
        task = progress.add_task("goldens, mutants and cheats", total=num_problems)
        for check in checks:
            progress.update(task, advance=1, description=printable(check.problem_id))
            yield check
