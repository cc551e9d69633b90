"""The service's figures in Prometheus' text format: its own, and its farm's as `earl_farm_*`."""

from collections.abc import Callable, Iterator
from dataclasses import asdict

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from verifiers.farm_stats import FarmStats
from verifiers.judgement import Judgement

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
_MAY_FALL = ("num_workers", "num_queued", "num_running", "max_queued")  # fields of FarmStats


class Metrics:
    """Counts answers, verdicts and batches; reads what stands now when asked. A registry for each application."""

    def __init__(
        self, *, num_pending_jobs: Callable[[], int], max_pending_jobs: int, farm_stats: Callable[[], FarmStats]
    ) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_FarmCollector(farm_stats))
        self.answers = Counter("earl_answers", "HTTP answers", ["path", "status"], registry=self._registry)
        self._verdicts = Counter("earl_verdicts", "Verdicts given", ["outcome"], registry=self._registry)
        self._verdict_s = Histogram(
            "earl_verdict_seconds", "Time of one judgement in its worker", registry=self._registry, buckets=_SECONDS
        )
        self.batch_s = Histogram(
            "earl_batch_seconds", "Time from a batch's arrival to its answer", registry=self._registry, buckets=_SECONDS
        )
        self.num_replayed = Counter(
            "earl_batches_replayed", "Batches answered by a known idempotency key", registry=self._registry
        )
        pending = Gauge("earl_pending_jobs", "Jobs accepted and not yet judged", registry=self._registry)
        pending.set_function(num_pending_jobs)
        Gauge("earl_max_pending_jobs", "Jobs that may be pending", registry=self._registry).set(max_pending_jobs)

    def count(self, judgement: Judgement) -> None:
        """Count a judgement that was made (a replayed answer makes none)."""
        self._verdicts.labels(judgement.verdict.outcome.value).inc()
        self._verdict_s.observe(judgement.verdict.duration_s)

    def text(self) -> bytes:
        """All figures."""
        return generate_latest(self._registry)


class _FarmCollector(Collector):
    """Every number of FarmStats under its own name; the breaker as 1 at its state."""

    def __init__(self, farm_stats: Callable[[], FarmStats]) -> None:
        self._farm_stats = farm_stats

    def describe(self) -> list[GaugeMetricFamily]:
        return []  # the names come with the figures

    def collect(self) -> Iterator[GaugeMetricFamily | CounterMetricFamily]:
        for name, value in asdict(self._farm_stats()).items():
            label = f"FarmStats.{name}"
            if isinstance(value, str):
                family = GaugeMetricFamily(f"earl_farm_{name}", label, labels=["state"])
                family.add_metric([value], 1)
                yield family
            elif isinstance(value, int | float):
                kind = GaugeMetricFamily if name in _MAY_FALL else CounterMetricFamily
                yield kind(f"earl_farm_{name}", label, value=value)
