"""What the farm did during a step, from its own counters: `perf/sim/*`, beside the `sim/*` that come from verdicts.

They are of the machine, not of the run: they depend on the cache, on workers lost and on what a resumed run need not
judge again. A service's counters are those of all its clients.
"""

from toolchain.errors import InfrastructureError
from verifiers.connect import Judge
from verifiers.farm_stats import FarmStats

# Counters of FarmStats that only grow; their growth over a step is the metric.
_COUNTERS = (
    "num_judged",
    "num_failed",
    "num_shared",
    "num_same_design",
    "num_stored",
    "num_alarms",
    "num_batch_alarms",
    "num_cache_faults",
    "num_reruns_alone",
    "num_workers_lost",
    "judging_s",
)


class FarmMeter:
    """Reads a judge's counters once a step."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._last = self._read()

    def metrics(self) -> dict[str, float]:
        """The growth of each counter since the last call. Nothing while the judge cannot be asked."""
        now, last = self._read(), self._last
        self._last = now
        if now is None or last is None:
            return {}
        growth = {name: float(getattr(now, name) - getattr(last, name)) for name in _COUNTERS}
        if min(growth.values()) < 0:  # the service was started anew
            return {}
        return {f"perf/sim/{name.removeprefix('num_')}": value for name, value in growth.items()}

    def _read(self) -> FarmStats | None:
        try:
            return self._judge.stats()
        except InfrastructureError:  # metrics stop no run; a judge that stays lost is found by the step
            return None
