"""What this machine has: memory, disk, and how fast it multiplies."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F

from earl.config import Config

_GEMM_S, _MIN_TRIES = 0.2, 3  # of measuring each shape


def memory_bytes() -> tuple[int, int]:
    """Memory in all and available now, of the machine or of the control group that this process is confined to."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    total, available = (int(fields[name].split()[0]) * 1024 for name in ("MemTotal", "MemAvailable"))
    for limit_file in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            limit = int(Path(limit_file).read_text(encoding="ascii"))
        except (OSError, ValueError):  # no such control group, or "max"
            continue
        total, available = min(total, limit), min(available, limit)
    return total, available


def program_bytes() -> int:
    """What this process takes now: it has imported what a training process imports, and loaded no weights."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * 4096


def num_cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0))


def num_threads_at_once(config: Config) -> int:
    """Of trainer and rollout workers on this machine, those that compute at the same time."""
    rollout = config.rollout
    num_workers = rollout.num_workers if rollout.is_local else 0
    num_processes = num_workers + 1 if rollout.max_staleness else max(1, num_workers)  # else they take turns
    return num_processes * (config.run.num_threads or torch.get_num_threads())


@contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """Within, torch computes with so many threads; 0: as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def free_disk_bytes(folder: Path) -> int:
    """On the disk that `folder` is on, or will be."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


@torch.inference_mode()
def gemm_flops(rows: int, inner: int, outer: int, dtype: torch.dtype) -> float:
    """Floating-point operations a second of (rows, inner) times (inner, outer): the best of some tries, at least three.

    On the CPU, which is where policies are trained. Whatever else the machine does meanwhile is in it.
    """
    x = torch.ones(rows, inner, dtype=dtype)
    weight = torch.ones(outer, inner, dtype=dtype)
    tries, deadline = [], time.perf_counter() + _GEMM_S
    while len(tries) < _MIN_TRIES or time.perf_counter() < deadline:
        started = time.perf_counter()
        F.linear(x, weight)
        tries.append(time.perf_counter() - started)
    return 2 * rows * inner * outer / min(tries)
