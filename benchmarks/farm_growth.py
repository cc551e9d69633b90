"""Whether a verdict costs the same at the end of a long run as at its start, and whether memory stays flat.

Jobs stream through one farm with a cache; one in so many is a design never seen before, the others repeat earlier ones.
CPU time is that of this process and of the workers as long as they live; wall time depends on what else runs.
Run: python benchmarks/farm_growth.py [--verdicts 100000] [--json]
"""

import json
import os
import random
import tempfile
import time
from collections import deque
from pathlib import Path

import click
from design_mix import draw_designs

from verifiers.farm import Farm
from verifiers.types import Problem

_WINDOW = 512  # jobs under way
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@click.command()
@click.option("--verdicts", "num_verdicts", default=100_000, show_default=True, help="Jobs to stream through.")
@click.option("--new-every", default=25, show_default=True, help="One job in so many is a new design.")
@click.option("--samples", "num_samples", default=10, show_default=True, help="Lines of the report.")
@click.option("--workers", "num_workers", default=2, show_default=True)
@click.option("--json", "is_json", is_flag=True, help="One JSON object instead of the table.")
def main(num_verdicts: int, new_every: int, num_samples: int, num_workers: int, is_json: bool) -> None:
    """Stream jobs through a farm; report cost and memory in equal parts of the run."""
    designs = draw_designs(200, 0, num_traps=0)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cache.db"
        with Farm(num_workers=num_workers, cache=path) as farm:
            meter, waiting = Meter(farm), deque()
            for number in range(num_verdicts):
                waiting.append(farm.submit(*job(designs, number, new_every)))
                if len(waiting) == _WINDOW:
                    assert waiting.popleft().result().verdict.is_scored
                if (number + 1) % (num_verdicts // num_samples) == 0:
                    while waiting:
                        assert waiting.popleft().result().verdict.is_scored
                    rows.append(meter.read(num_verdicts // num_samples) | {"cache_mb": path.stat().st_size / 1e6})
                    if not is_json:
                        click.echo(" ".join(f"{name} {value:.3g}" for name, value in rows[-1].items()))
            stats = farm.stats()
    report = {"num_verdicts": stats.num_judged, "num_stored": stats.num_stored, "num_audits": stats.num_audits}
    report |= {"num_alarms": stats.num_alarms, "num_workers_started": stats.num_workers_started}
    click.echo(json.dumps({**report, "samples": rows}, indent=2) if is_json else str(report))


def job(designs: list[tuple[Problem, str]], number: int, new_every: int) -> tuple[Problem, str, tuple[int, ...]]:
    """Job `number`: a new design if its turn has come, else one of the past."""
    age = number // new_every
    which = age if number % new_every == 0 else random.Random(number).randint(max(0, age - 2000), age)
    problem, text = designs[which % len(designs)]
    return problem, f"{text}// {which}\n", (1,)


class Meter:
    """Reads what a farm has used since the last reading."""

    def __init__(self, farm: Farm) -> None:
        self._farm = farm
        self._started = time.monotonic()
        self._own_cpu_s = time.process_time()
        self._worker_cpu_s: dict[int, float] = {}

    def read(self, num_verdicts: int) -> dict[str, float]:
        """Milliseconds a verdict, and resident memory in MB."""
        now, own_cpu_s = time.monotonic(), time.process_time()
        pids = [slot.worker.pid for slot in self._farm._slots if slot.worker is not None]
        usage = {pid: _cpu_s(pid) for pid in pids}
        worker_cpu_s = sum(cpu_s - self._worker_cpu_s.get(pid, 0.0) for pid, cpu_s in usage.items())
        row = {
            "wall_ms": 1e3 * (now - self._started) / num_verdicts,
            "own_cpu_ms": 1e3 * (own_cpu_s - self._own_cpu_s) / num_verdicts,
            "worker_cpu_ms": 1e3 * worker_cpu_s / num_verdicts,
            "own_mb": _resident_mb(os.getpid()),
            "largest_worker_mb": max(_resident_mb(pid) for pid in pids),
        }
        self._started, self._own_cpu_s, self._worker_cpu_s = now, own_cpu_s, usage
        return row


def _cpu_s(pid: int) -> float:
    """CPU time of a process and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / _TICKS_PER_S


def _resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES / 1e6


if __name__ == "__main__":
    main()
