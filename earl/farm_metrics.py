"""What the farm did during a step, from its own counters: those of `sim/*` that do not come from the step's verdicts.

They are of the machine, not of the run: they depend on the cache, on workers lost and on what a resumed run need not
judge again. A service's counters are those of all its clients.
"""

from toolchain.errors import InfrastructureError
from verifiers.connect import Judge
from verifiers.farm_stats import FarmStats

# Counters of FarmStats that only grow, by the metric that their growth over a step is.
FARM_METRICS = {
    "sim/judged": "num_judged",
    "sim/failed": "num_failed",
    "sim/shared": "num_shared",
    "sim/same_design": "num_same_design",
    "sim/stored": "num_stored",
    "sim/alarms": "num_alarms",
    "sim/batch_alarms": "num_batch_alarms",
    "sim/cache_faults": "num_cache_faults",
    "sim/reruns_alone": "num_reruns_alone",
    "sim/workers_lost": "num_workers_lost",
    "sim/judging_s": "judging_s",
}


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
        growth = {name: float(getattr(now, of) - getattr(last, of)) for name, of in FARM_METRICS.items()}
        return growth if min(growth.values()) >= 0 else {}  # else the service was started anew

    def _read(self) -> FarmStats | None:
        try:
            return self._judge.stats()
        except InfrastructureError:  # metrics stop no run; a judge that stays lost is found by the step
            return None
