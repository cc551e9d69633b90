"""`earl problems overlap`: training items that are too close to a benchmark, found and removed."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from earl.cli.common import json_option, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from hdl_bench.overlap import Overlap

_SHOWN = 20

against_option = click.option(
    "--against",
    "against",
    multiple=True,
    metavar="BENCHMARK:ROOT",
    help="A benchmark to protect: its name and its path, as `earl score` takes them (repeatable).",
)


@click.command("overlap", short_help="Find training items too close to a benchmark.")
@click.argument("train", type=click.Path(path_type=Path))
@against_option
@click.option(
    "--min-containment",
    type=click.FloatRange(min=0, max=1, min_open=True),
    default=0.8,
    show_default=True,
    help="The part of the shorter text's n-grams that two texts share from which on they are too close.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write the other rows, one a line.")
@json_option
def overlap_command(
    train: Path, against: tuple[str, ...], min_containment: float, out: Path | None, is_json: bool
) -> None:
    """Find rows of TRAIN that are copies of a benchmark's problems, or close to one.

    TRAIN is a file, folder or data set as for `--benchmark jsonl`; rows that have a prompt or a golden alone will do.

    Exit codes: 0 whatever is found, 2 usage, 3 infrastructure.
    """
    import json

    from rich.console import Console

    from hdl_bench.overlap import Protected
    from hdl_bench.overlap_sources import protected_items, training_rows
    from hdl_bench.text_files import write_text
    from toolchain.errors import UsageError

    if not against:
        raise UsageError("name a benchmark to protect: --against BENCHMARK:ROOT")
    benchmarks = protected_items(against)
    rows = training_rows(train)
    protected = Protected(benchmarks, min_containment=min_containment)
    found = [protected.overlaps(item) for item, _ in rows]
    if out:
        kept = [data for (_, data), overlaps in zip(rows, found, strict=True) if not overlaps]
        write_text(out, "".join(json.dumps(data) + "\n" for data in kept))
    pairs = [overlap for overlaps in found for overlap in overlaps]
    num_removed = sum(map(bool, found))
    if is_json:
        counts = {"num_items": len(rows), "num_overlapping": num_removed, "num_kept": len(rows) - num_removed}
        protects = [{"benchmark": name, "num_problems": len(items)} for name, items in benchmarks]
        print_json({**counts, "against": protects, "overlaps": [_document(overlap) for overlap in pairs]})
        return
    screen = Console(highlight=False)
    num_protected = sum(len(items) for _, items in benchmarks)
    screen.print(f"{num_removed:,} of {len(rows):,} items are too close to one of {num_protected:,} protected problems")
    if pairs:
        screen.print(_pair_table(pairs))
    if out:
        screen.print(f"the other {len(rows) - num_removed:,} are written to {out}", markup=False)


def _document(overlap: "Overlap") -> dict[str, object]:
    return {
        "item_id": overlap.item_id,
        "benchmark": overlap.benchmark,
        "problem_id": overlap.problem_id,
        "reason": overlap.reason.value,
        "score": round(overlap.score, 4),
    }


def _pair_table(pairs: list["Overlap"]) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from earl.printable import printable

    hidden = len(pairs) - _SHOWN
    caption = f"and {hidden:,} more pairs, with --json" if hidden > 0 else None
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, caption=caption, caption_justify="left")
    for heading in ("item", "protected problem", "reason"):
        table.add_column(heading)
    table.add_column("score", justify="right")
    for pair in pairs[:_SHOWN]:
        problem = f"{pair.benchmark}: {pair.problem_id}"
        table.add_row(Text(printable(pair.item_id)), Text(printable(problem)), pair.reason.value, f"{pair.score:.2f}")
    return table
