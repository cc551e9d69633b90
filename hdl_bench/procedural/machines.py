"""Random state tables for the state machine families: drawn, minimal, in one canonical order of states.

Not a family. A table is redrawn until every state is reachable and no two states are equivalent; states are numbered in
breadth-first order from the reset state, so that equal behaviours have equal tables.
"""

import random
from dataclasses import dataclass

_MAX_DRAWS = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class StateTable:
    """State 0 is the reset state. A Moore table has equal outputs in each row of `outputs`."""

    following: tuple[tuple[int, ...], ...]  # [state][input] -> next state
    outputs: tuple[tuple[int, ...], ...]  # [state][input] -> output

    @property
    def num_states(self) -> int:
        return len(self.following)

    @property
    def params(self) -> dict[str, int | str]:
        return {
            "following": ";".join(",".join(map(str, row)) for row in self.following),
            "outputs": ";".join(",".join(map(str, row)) for row in self.outputs),
        }


def draw_table(rng: random.Random, *, num_states: int, input_bits: int, output_bits: int, is_moore: bool) -> StateTable:
    """A minimal table with all states reachable."""
    codes = range(1 << input_bits)
    for _ in range(_MAX_DRAWS):
        following = tuple(tuple(rng.randrange(num_states) for _ in codes) for _ in range(num_states))
        outputs = tuple(
            (rng.randrange(1 << output_bits),) * len(codes)
            if is_moore
            else tuple(rng.randrange(1 << output_bits) for _ in codes)
            for _ in range(num_states)
        )
        order = _breadth_first(following)
        if len(order) == num_states and _is_minimal(following, outputs):
            return _renumbered(following, outputs, order)
    raise AssertionError(f"no minimal table of {num_states} states in {_MAX_DRAWS} draws")


def state_names(num_states: int) -> tuple[str, ...]:
    """A, B, C, ..."""
    return tuple(chr(ord("A") + state) for state in range(num_states))


def _breadth_first(following: tuple[tuple[int, ...], ...]) -> list[int]:
    order = [0]
    for state in order:
        order.extend(new for new in dict.fromkeys(following[state]) if new not in order)
    return order


def _is_minimal(following: tuple[tuple[int, ...], ...], outputs: tuple[tuple[int, ...], ...]) -> bool:
    """Partition refinement: every state ends in a class of its own."""
    first = {row: number for number, row in enumerate(dict.fromkeys(outputs))}
    classes = [first[row] for row in outputs]
    for _ in outputs:
        keys = [(own, tuple(classes[new] for new in row)) for own, row in zip(classes, following, strict=True)]
        numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        classes = [numbers[key] for key in keys]
    return len(set(classes)) == len(outputs)


def _renumbered(
    following: tuple[tuple[int, ...], ...], outputs: tuple[tuple[int, ...], ...], order: list[int]
) -> StateTable:
    place = {state: number for number, state in enumerate(order)}
    return StateTable(
        following=tuple(tuple(place[new] for new in following[state]) for state in order),
        outputs=tuple(outputs[state] for state in order),
    )
