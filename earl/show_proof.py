"""A proof on a terminal and as a document: what came of it, by which method, and the inputs that tell designs apart."""

from dataclasses import asdict
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from earl.printable import printable
from verifiers.formal import FormalOutcome, FormalResult

_SHOWN_ROWS = 12  # the last rows of a counterexample
_COLOURS = {FormalOutcome.EQUIVALENT: "green", FormalOutcome.DIFFERENT: "red", FormalOutcome.UNKNOWN: "yellow"}


def proof_document(proof: FormalResult) -> dict[str, Any]:
    """One proof as JSON-able data."""
    return asdict(proof) | {"outcome": proof.outcome.value, "counterexample": list(proof.counterexample)}


def render_proof(proof: FormalResult) -> RenderableType:
    """One proof. Safe for hostile candidates: no markup, no escapes."""
    line = Text("\n ")
    line.append(f"formal: {proof.outcome.value}", style=f"bold {_COLOURS[proof.outcome]}")
    if proof.outcome is FormalOutcome.DIFFERENT:
        line.append(f"  {printable(proof.output)}: {proof.reason}, after {len(proof.counterexample)} rows")
    elif proof.reason:
        line.append(f"  {printable(proof.reason)}")
    else:
        line.append("  the golden and the candidate agree for every input sequence")
    line.append(f"  ({proof.method}, {proof.duration_s:.2f} s)", style="dim")
    return Group(line, _rows(proof.counterexample)) if proof.counterexample else line


def _rows(counterexample: tuple[dict[str, str], ...]) -> Table:
    table = Table(box=box.SIMPLE)
    first = max(0, len(counterexample) - _SHOWN_ROWS)
    table.add_column("row", justify="right")
    for name in counterexample[-1]:
        table.add_column(Text(printable(name)), justify="right")
    for number, row in enumerate(counterexample[first:], start=first):
        table.add_row(str(number), *row.values())
    return table
