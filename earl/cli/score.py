"""`earl score`: completions that a user has already sampled, on a benchmark."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from earl.cli.common import console

if TYPE_CHECKING:
    from contextlib import ExitStack

    from hdl_bench.results import RunInfo
    from verifiers.formal import FormalProver


@click.command()
@click.option("--benchmark", "name", required=True, help="procedural, verilog-eval-v2-spec, ...")
@click.option("--root", type=click.Path(path_type=Path), required=True, help="The checkout, or a file of problems.")
@click.option("--samples", type=click.Path(path_type=Path), required=True, help="JSON lines: problem_id, completion.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write rates, verdicts and hashes to this file.")
@click.option(
    "--results", "folder", type=click.Path(path_type=Path), help="Write results_*.json and samples_*.jsonl here."
)
@click.option(
    "--info",
    "infos",
    multiple=True,
    metavar="KEY=VALUE",
    help="What is known of the sampling, for the record: model=..., temperature=0.8, top_p=0.95, seed=1, ...",
)
@click.option("--verifier", default="local", show_default=True, help="Who judges: local, http(s)://..., ray, auto.")
@click.option("--workers", type=click.IntRange(min=1), default=2, show_default=True, help="Worker processes here.")
@click.option(
    "--formal/--no-formal", "is_formal", default=None, help="Prove passes on stock testbenches. Default: if pyosys."
)
def command(  # noqa: PLR0913  (one parameter an option)
    name: str,
    root: Path,
    samples: Path,
    out: Path | None,
    folder: Path | None,
    infos: tuple[str, ...],
    verifier: str,
    workers: int,
    is_formal: bool | None,
) -> None:
    """Judge completions of a benchmark, hardened, and by the benchmark's own rule where it has one.

    A pass on a stock testbench is also put to proof, where pyosys is installed or --formal asks for it.

    Exit codes: 0 all rows were judged, whatever the verdicts; 2 usage, 3 infrastructure.
    """
    from contextlib import ExitStack

    from rich.console import Console

    from earl.run_folder import write_atomically
    from earl.show_results import render_results
    from hdl_bench.benchmarks import load_benchmark
    from hdl_bench.results import results_document, sample_rows, write_results
    from hdl_bench.score import Judges, Upstream, read_samples, score_samples
    from verifiers.connect import FarmSettings, connect
    from verifiers.simulate import local_executor

    run_info = read_info(infos)
    benchmark = load_benchmark(name, root)
    rows = read_samples(samples, benchmark)
    upstream = None
    if benchmark.compatible is not None:
        upstream = Upstream([local_executor() for _ in range(workers)])
    with ExitStack() as opened:
        prover = open_prover(opened, is_formal) if benchmark.has_stock_testbenches else None
        ours = opened.enter_context(connect(verifier, FarmSettings(num_workers=workers)))
        status = opened.enter_context(console.status(""))

        def show(what: str, num_done: int, num_jobs: int) -> None:
            status.update(f"{what}: {num_done} of {num_jobs} judged")

        judges = Judges(ours=ours, prover=prover, upstream=upstream)
        score = score_samples(benchmark, rows, judges, progress=show)
    document = results_document(score, run_info)
    if out:
        write_atomically(out, document)
    if folder:
        write_results(folder, document, sample_rows(score))
    Console(highlight=False).print(render_results(document))


def read_info(infos: tuple[str, ...]) -> "RunInfo":
    """The KEY=VALUEs of --info. UsageError for an unknown key, which names the nearest, and for a wrong value."""
    from difflib import get_close_matches

    from pydantic import TypeAdapter, ValidationError

    from hdl_bench.results import RunInfo
    from toolchain.errors import UsageError

    known = [*RunInfo.__dataclass_fields__]
    pairs = dict(info.partition("=")[::2] for info in infos)
    for key in pairs:
        if key not in known:
            [nearest] = get_close_matches(key, known, n=1, cutoff=0.0)
            raise UsageError(f"--info has no key {key!r}; did you mean {nearest!r}? There are {', '.join(known)}")
    try:
        return TypeAdapter(RunInfo).validate_python(pairs)
    except ValidationError as error:
        [first, *_] = error.errors()
        raise UsageError(f"--info {first['loc'][0]}: {first['msg']}, got {first['input']!r}") from error


def open_prover(opened: "ExitStack", is_formal: bool | None) -> "FormalProver | None":
    """The prover that is wanted (None: if pyosys is there). Raises ToolNotFound when it is wanted and missing."""
    from toolchain.errors import ToolNotFound
    from toolchain.yosys import find_pyosys
    from verifiers.formal import FormalProver

    if is_formal is False:
        return None
    try:
        find_pyosys()
    except ToolNotFound:
        if is_formal:
            raise
        console.print("passes are not put to proof: pyosys is not installed (pip install 'earl-rtl\\[formal]')")
        return None
    return opened.enter_context(FormalProver())
