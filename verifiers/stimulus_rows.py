"""Rows of input values as they are drawn, and what is done to them whatever drew them."""

from bisect import bisect_right
from itertools import pairwise
from typing import NamedTuple

from toolchain.errors import UsageError
from verifiers.types import Port, Protocol


class Rows(NamedTuple):
    """Rows as they are drawn, `rows[i][j]` the value of input j in row i."""

    rows: list[tuple[int, ...]]
    first_scored_row: int = 0


def without_repeats(drawn: Rows) -> Rows:
    """The rows that change something: a design sees no others, and each costs simulator time."""
    rows = drawn.rows
    places = [0, *(place for place, (last, row) in enumerate(pairwise(rows), start=1) if row != last)]
    # The kept row that stands in the place of the first scored one.
    return Rows([rows[place] for place in places], bisect_right(places, drawn.first_scored_row) - 1)


def with_one_hot(drawn: Rows, inputs: tuple[Port, ...], protocol: Protocol) -> Rows:
    """The rows with each value of a one-hot input turned into one bit: what changed alone still does.

    Raises UsageError where the protocol's `one_hot` names what is no vector input.
    """
    widths = {port.name: port.width for port in inputs if port.width > 1}
    wrong = sorted(set(protocol.one_hot) - set(widths))
    if wrong:
        raise UsageError(f"the protocol names {', '.join(wrong)} one-hot; it may name vector inputs: {sorted(widths)}.")
    if not protocol.one_hot:
        return drawn
    turned = [port.width if port.name in protocol.one_hot else 0 for port in inputs]
    return drawn._replace(
        rows=[
            tuple(1 << value % width if width else value for value, width in zip(row, turned, strict=True))
            for row in drawn.rows
        ]
    )
