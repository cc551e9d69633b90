"""`earl score`: completions that a user has already sampled, on a benchmark."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from earl.cli.common import cache_options, cache_path, console, progress_bar

if TYPE_CHECKING:
    from contextlib import ExitStack

    from rich.progress import Progress, TaskID

    from hdl_bench.results import RunInfo
    from verifiers.formal import FormalProver


@click.command()
@click.option("--benchmark", "name", required=True, help="procedural, verilog-eval-v2-spec, rtllm-v2, ...")
@click.option("--root", type=click.Path(path_type=Path), required=True, help="The checkout, or a file of problems.")
@click.option(
    "--samples",
    type=click.Path(path_type=Path),
    help="JSON lines: problem_id, completion. Or VerilogEval's build folder.",
)
@click.option("--trials", type=click.Path(path_type=Path), help="RTLLM's folder of t1/DESIGN.v, t2/DESIGN.v, ...")
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
@click.option(
    "--compatible/--no-compatible", "is_compatible", default=True, help="Also by upstream's rule. Default: yes."
)
@cache_options
@click.option("--synthesis", "is_sized", is_flag=True, help="Sizes of passes beside the golden's (needs pyosys).")
def command(  # noqa: PLR0913  (one parameter an option)
    name: str,
    root: Path,
    samples: Path | None,
    trials: Path | None,
    out: Path | None,
    folder: Path | None,
    infos: tuple[str, ...],
    verifier: str,
    workers: int,
    is_formal: bool | None,
    is_compatible: bool,
    cache: Path | None,
    is_uncached: bool,
    is_sized: bool,
) -> None:
    """Judge completions of a benchmark, hardened, and by the benchmark's own rule where it has one.

    A pass on a stock testbench is also put to proof, where pyosys is installed or --formal asks for it.

    Exit codes: 0 all rows were judged, whatever the verdicts; 2 usage, 3 infrastructure.
    """
    from contextlib import ExitStack, closing

    from rich.console import Console

    from earl.printable import printable
    from earl.run_folder import write_atomically
    from earl.show_results import render_results
    from hdl_bench.benchmarks import load_benchmark
    from hdl_bench.results import results_document, sample_rows, write_results
    from hdl_bench.sample_files import read_rows
    from hdl_bench.score import Judges, Upstream, score_samples
    from hdl_bench.sizes import with_sizes
    from verifiers.cache import DiskCache
    from verifiers.connect import FarmSettings, connect
    from verifiers.simulate import local_executor
    from verifiers.synthesis import Synthesizer

    run_info = read_info(infos)
    benchmark = load_benchmark(name, root)
    if benchmark.refused:
        console.print(printable(benchmark.refused), markup=False, highlight=False)
    rows = read_rows(benchmark, samples=samples, trials=trials)
    is_compatible = is_compatible and benchmark.compatible is not None
    upstream = Upstream([local_executor() for _ in range(workers)]) if is_compatible else None
    with ExitStack() as opened:
        prover = open_prover(opened, is_formal) if benchmark.has_stock_testbenches else None
        kept = cache_path(cache, is_uncached)
        proofs = opened.enter_context(closing(DiskCache(kept))) if kept and prover else None
        settings = FarmSettings(num_workers=workers, cache=str(kept) if kept else "")
        ours = opened.enter_context(connect(verifier, settings))
        show = teller(opened.enter_context(progress_bar(console)))
        judges = Judges(ours=ours, prover=prover, upstream=upstream, cache=proofs)
        score = score_samples(benchmark, rows, judges, progress=show)
        if is_sized:
            score = with_sizes(score, opened.enter_context(Synthesizer()), show)
    document = results_document(score, run_info)
    if out:
        write_atomically(out, document)
    if folder:
        write_results(folder, document, sample_rows(score))
    Console(highlight=False).print(render_results(document))


def teller(progress: "Progress") -> Callable[[str, int, int], None]:
    """A function that is told what is done, how much of it, and of how much: a bar for each."""
    tasks: dict[str, TaskID] = {}

    def show(what: str, num_done: int, num_jobs: int) -> None:
        if what not in tasks:
            tasks[what] = progress.add_task(what, total=num_jobs)
        progress.update(tasks[what], completed=num_done)

    return show


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
