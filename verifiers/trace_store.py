"""Golden traces in the disk cache, shared by all workers: a golden is simulated once for each stimulus."""

import json
from dataclasses import asdict
from itertools import groupby

from verifiers.cache import DiskCache, entry_key
from verifiers.trace import Trace, unroll
from verifiers.types import Port, Protocol


class TraceStore:
    """Traces by golden and stimulus. `versions` are those of the simulator that plays them."""

    def __init__(self, cache: DiskCache, versions: dict[str, str]) -> None:
        self._cache, self._versions = cache, versions

    def key(self, golden: str, top: str, ports: tuple[Port, ...], protocol: Protocol, row_file: str) -> str:
        """The key of the trace that `golden` leaves when it is played `row_file`."""
        drive = [[asdict(port) for port in ports], asdict(protocol)]
        return entry_key("trace runs", golden, top, drive, row_file, sorted(self._versions.items()))

    def get(self, key: str) -> Trace | None:
        payload = self._cache.get(key)
        if payload is None:
            return None
        values = {name: unroll(*column) for name, column in json.loads(payload).items()}
        return Trace(values=values, num_rows=len(next(iter(values.values()))))

    def put(self, key: str, trace: Trace) -> None:
        if trace.values:  # a design without outputs has no rows to count
            columns = {name: _rolled(column) for name, column in trace.values.items()}
            self._cache.put(key, json.dumps(columns).encode())


def _rolled(column: tuple[str, ...]) -> tuple[list[str], list[int]]:
    """Values that each hold for some rows, and for how many."""
    runs = [(value, len(list(rows))) for value, rows in groupby(column)]
    return [value for value, _ in runs], [length for _, length in runs]
