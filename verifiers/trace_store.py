"""Golden traces in the disk cache, shared by all workers: a golden is driven once under each seed.

What is stored is the whole run, the rows that were played too: neither is worked out again.
"""

import json
import zlib
from dataclasses import asdict
from itertools import groupby

from verifiers.cache import DiskCache, entry_key
from verifiers.stimulus import Stimulus
from verifiers.trace import Trace, unroll
from verifiers.types import Port, Protocol

_ZLIB_LEVEL = 1  # rows shrink to a half and long traces to a hundredth, in less time than drawing takes


class TraceStore:
    """Runs by golden, drive and seed. `versions` are those of the simulator that plays them."""

    def __init__(self, cache: DiskCache, versions: dict[str, str]) -> None:
        self._cache, self._versions = cache, versions

    def key(
        self,
        golden: str,
        top: str,
        *,
        ports: tuple[Port, ...],
        protocol: Protocol,
        literals: tuple[int, ...],
        seed: int,
    ) -> str:
        """The key of the run of `golden` under what is drawn for the rest of the arguments."""
        drive = [[asdict(port) for port in ports], asdict(protocol), literals, seed]
        return entry_key("golden run", golden, top, drive, sorted(self._versions.items()))

    def get(self, key: str, *, inputs: tuple[Port, ...], seed: int) -> tuple[Stimulus, Trace] | None:
        """The run stored under `key`, if there is one."""
        payload = self._cache.get(key)
        if payload is None:
            return None
        row_file, first_scored_row, columns = json.loads(zlib.decompress(payload))
        stimulus = Stimulus(seed=seed, inputs=inputs, row_file=row_file, first_scored_row=first_scored_row)
        values = {name: unroll(*column) for name, column in columns.items()}
        return stimulus, Trace(values=values, num_rows=stimulus.num_rows)

    def put(self, key: str, stimulus: Stimulus, trace: Trace) -> None:
        """Store a run."""
        columns = {name: _rolled(column) for name, column in trace.values.items()}
        text = json.dumps([stimulus.row_file, stimulus.first_scored_row, columns], separators=(",", ":"))
        self._cache.put(key, zlib.compress(text.encode(), _ZLIB_LEVEL))


def _rolled(column: tuple[str, ...]) -> tuple[list[str], list[int]]:
    """Values that each hold for some rows, and for how many."""
    runs = [(value, len(list(rows))) for value, rows in groupby(column)]
    return [value for value, _ in runs], [length for _, length in runs]
