"""`earl score`: completions that a user has already sampled, on a benchmark."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earl.cli.common import console

if TYPE_CHECKING:
    from contextlib import ExitStack

    from rich.table import Table

    from hdl_bench.score import Score, ScoredRow
    from verifiers.formal import FormalProver

_SHOWN_DISAGREEMENTS = 20


@click.command()
@click.option("--benchmark", "name", required=True, help="procedural, verilog-eval-v2-spec, rtllm-v2, ...")
@click.option("--root", type=click.Path(path_type=Path), required=True, help="The checkout, or a file of problems.")
@click.option(
    "--samples",
    type=click.Path(path_type=Path),
    help="JSON lines: problem_id, completion. Or VerilogEval's build folder.",
)
@click.option("--trials", type=click.Path(path_type=Path), help="RTLLM's folder of t1/DESIGN.v, t2/DESIGN.v, ...")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write all verdicts to this file.")
@click.option("--verifier", default="local", show_default=True, help="Who judges: local, http(s)://..., ray, auto.")
@click.option("--workers", type=click.IntRange(min=1), default=2, show_default=True, help="Worker processes here.")
@click.option(
    "--formal/--no-formal", "is_formal", default=None, help="Prove passes on stock testbenches. Default: if pyosys."
)
def command(  # noqa: PLR0913  (one parameter an option)
    name: str,
    root: Path,
    samples: Path | None,
    trials: Path | None,
    out: Path | None,
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
    from hdl_bench.benchmarks import load_benchmark
    from hdl_bench.sample_files import read_rows
    from hdl_bench.score import Judges, Upstream, score_samples
    from verifiers.connect import FarmSettings, connect
    from verifiers.simulate import local_executor

    benchmark = load_benchmark(name, root)
    rows = read_rows(benchmark, samples=samples, trials=trials)
    upstream = None
    if benchmark.compatible is not None:
        upstream = Upstream([local_executor() for _ in range(workers)])
    with ExitStack() as opened:
        prover = _open_prover(opened, is_formal) if benchmark.has_stock_testbenches else None
        ours = opened.enter_context(connect(verifier, FarmSettings(num_workers=workers)))
        status = opened.enter_context(console.status(""))

        def show(what: str, num_done: int, num_jobs: int) -> None:
            status.update(f"{what}: {num_done} of {num_jobs} judged")

        judges = Judges(ours=ours, prover=prover, upstream=upstream)
        score = score_samples(benchmark, rows, judges, progress=show)
    if out:
        write_atomically(out, score_document(score))
    screen = Console(highlight=False)
    screen.print(summary_table(score))
    if score.disagreements:
        screen.print(disagreement_table(score.disagreements))


def _open_prover(opened: "ExitStack", is_formal: bool | None) -> "FormalProver | None":
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


def score_document(score: "Score") -> dict[str, Any]:
    """What --json writes: one verdict a row in input order, the rates, the disagreements, the errata met."""
    from hdl_bench.score import reason_of

    sampled = {row.sample.problem_id for row in score.rows}
    return {
        "benchmark": score.benchmark.name,
        "verdicts": [_row_document(row) for row in score.rows],
        "summary": _summary(score),
        "disagreements": [
            {"problem_id": row.sample.problem_id, "sample_idx": row.sample.sample_idx, "reason": reason_of(row)}
            for row in score.disagreements
        ],
        "errata": [
            {"problem_id": erratum.problem_id, "kinds": list(erratum.kinds), "note": erratum.note}
            for erratum in score.benchmark.errata.values()
            if erratum.problem_id in sampled
        ],
    }


def _row_document(row: "ScoredRow") -> dict[str, Any]:
    from earl.cli.verify import verdict_document

    document = {
        "problem_id": row.sample.problem_id,
        "sample_idx": row.sample.sample_idx,
        **verdict_document(row.verdict),
    }
    if row.proof is not None:
        document["formal"] = row.proof.value
    if row.compatible is not None:
        document["compatible"] = {"passed": row.compatible.passed, "letter": row.compatible.letter}
    return document


def _summary(score: "Score") -> dict[str, Any]:
    from collections import Counter

    sampled = {row.sample.problem_id for row in score.rows}
    return {
        "num_rows": len(score.rows),
        "num_problems": len(score.benchmark.problems),
        "num_problems_sampled": len(sampled),
        "num_problems_with_errata": sum(problem_id in score.benchmark.errata for problem_id in sampled),
        "pass@1": score.pass_rate(),
        "pass@1_sound": score.pass_rate(is_sound_only=True),
        "pass@1_compatible": score.compatible_rate(),
        "num_disagreements": len(score.disagreements),
        "outcomes": dict(Counter(row.verdict.outcome.value for row in score.rows).most_common()),
        "proofs": dict(Counter(row.proof.value for row in score.rows if row.proof).most_common()),
        "letters": dict(Counter(row.compatible.letter for row in score.rows if row.compatible).most_common()),
    }


def summary_table(score: "Score") -> "Table":
    """The rates and how the rows ended, for a person."""
    from rich import box
    from rich.table import Table

    summary = _summary(score)
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, title=score.benchmark.name, title_justify="left")
    table.add_column("")
    table.add_column("", justify="right")
    table.add_row("rows", f"{summary['num_rows']:,}")
    table.add_row("problems", f"{summary['num_problems_sampled']:,} of {summary['num_problems']:,}")
    table.add_row("pass@1, hardened", _per_cent(summary["pass@1"]))
    num_unsound = summary["num_problems_with_errata"]
    table.add_row(f"pass@1, hardened, without {num_unsound} with errata", _per_cent(summary["pass@1_sound"]))
    if summary["pass@1_compatible"] is not None:
        table.add_row("pass@1, upstream's rule", _per_cent(summary["pass@1_compatible"]))
    table.add_section()
    for outcome, count in summary["outcomes"].items():
        table.add_row(outcome, f"{count:,}")
    table.add_section()
    for proof, count in summary["proofs"].items():
        table.add_row(f"proof: {proof}", f"{count:,}")
    table.add_section()
    letters = score.benchmark.compatible.letters if score.benchmark.compatible else {}
    for letter, count in summary["letters"].items():
        table.add_row(f"upstream {letter}  {letters[letter]}", f"{count:,}")
    return table


def disagreement_table(rows: tuple["ScoredRow", ...]) -> "Table":
    """Where upstream's rule and ours part ways, and why."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from earl.printable import printable
    from hdl_bench.score import reason_of

    hidden = len(rows) - _SHOWN_DISAGREEMENTS
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        title=f"\n{len(rows)} rows on which upstream's rule and ours part ways",
        title_justify="left",
        caption=f"and {hidden} more, in the --json file" if hidden > 0 else None,
    )
    for heading in ("problem", "row", "upstream", "why"):
        table.add_column(heading)
    for row in rows[:_SHOWN_DISAGREEMENTS]:
        letter = row.compatible.letter if row.compatible else ""
        table.add_row(row.sample.problem_id, str(row.sample.sample_idx), letter, Text(printable(reason_of(row))))
    return table


def _per_cent(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.1%}"
