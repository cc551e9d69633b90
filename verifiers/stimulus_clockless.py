"""Draws the rows of a design without a clock: one input changes a row, so that latches see no race."""

import random

from verifiers.stimulus_rows import Rows
from verifiers.stimulus_values import VectorSource
from verifiers.types import Port, Protocol

EXHAUSTIVE_BITS = 10  # a design with at most this many input bits sees every input vector
_NUM_ROWS = (500, 800)


def draw_clockless(
    inputs: tuple[Port, ...], protocol: Protocol, rng: random.Random, sources: dict[int, VectorSource]
) -> Rows:
    """The rows; `sources` draw the vectors, by the index of the input."""
    rows = _walk_all(inputs, rng) if sum(port.width for port in inputs) <= EXHAUSTIVE_BITS else []
    first_scored_row = 0
    current = list(rows[-1]) if rows else [0] * len(inputs)
    active = {reset.name: int(reset.is_active_high) for reset in protocol.resets}
    if active and not rows:
        current = [1 - active[port.name] if port.name in active else 0 for port in inputs]
        rows.append(tuple(current))
        for index, port in enumerate(inputs):
            if port.name in active:
                current[index] = active[port.name]
                rows.append(tuple(current))
        first_scored_row = len(rows) - 1
    target = len(rows) + rng.randint(*_NUM_ROWS) // (2 if len(rows) > 200 else 1)
    while len(rows) < target:
        for index in rng.sample(range(len(inputs)), rng.randint(1, len(inputs))):
            source = sources.get(index)
            current[index] = source.draw(current, rng) if source else _draw_bit(inputs[index], protocol, rng)
            rows.append(tuple(current))
    return Rows(rows, first_scored_row)


def _draw_bit(port: Port, protocol: Protocol, rng: random.Random) -> int:
    if port.name in protocol.rare_high:
        return int(rng.random() < 1 / 16)
    if port.name in protocol.rare_low:
        return int(rng.random() >= 1 / 16)
    for reset in protocol.resets:
        if port.name == reset.name:
            return int(reset.is_active_high) ^ int(rng.random() < 7 / 8)
    return rng.getrandbits(1)


def _walk_all(inputs: tuple[Port, ...], rng: random.Random) -> list[tuple[int, ...]]:
    """Every input vector once, in a random mixed-radix Gray order: neighbours differ in one input."""
    values = [rng.sample(range(1 << port.width), 1 << port.width) for port in inputs]
    order = rng.sample(range(len(inputs)), len(inputs))
    digits, steps = [0] * len(inputs), [1] * len(inputs)
    rows = []
    while True:
        rows.append(tuple(values[i][digits[i]] for i in range(len(inputs))))
        for i in order:
            if 0 <= digits[i] + steps[i] < len(values[i]):
                digits[i] += steps[i]
                break
            steps[i] = -steps[i]
        else:
            return rows
