"""Where a run's numbers go: always metrics.jsonl, and a live line for the person who watches."""

import json
import os
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from earl.farm_metrics import FARM_METRICS
from toolchain.errors import InfrastructureError

_PLAIN_EVERY_S = 5.0


def is_of_machine(name: str) -> bool:
    """Whether a metric is of the machine and the hour. A resumed run has all others as an unbroken one has them."""
    return name.startswith("perf/") or name in FARM_METRICS


class MetricsLog:
    """Append-only JSON lines, one a step. On resume the lines after the checkpoint's step are cut off.

    So is a line that a kill cut short. InfrastructureError for a damaged line before that step.
    """

    def __init__(self, path: Path, *, last_step: int = 0) -> None:
        if path.exists():
            os.truncate(path, _length_until(path, last_step))  # at once: a kill loses no line that is kept
        self._file = path.open("a", encoding="utf-8")

    def write(self, step: int, values: dict[str, float]) -> None:
        self._file.write(json.dumps({"step": step, **values, "perf/unix_time": time.time()}) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def _length_until(path: Path, last_step: int) -> int:
    """The bytes of the rows up to a step."""
    length = 0
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True), start=1):
        try:
            if not line.endswith(b"\n") or json.loads(line)["step"] > last_step:
                break
        except (ValueError, KeyError, TypeError) as error:
            raise InfrastructureError(f"{path}: line {number} is damaged ({error}); remove that line") from error
        length += len(line)
    return length


class ProgressLine:
    """One live line on a terminal (with the time left), or plain lines where nobody can watch it move."""

    def __init__(self, console: Console, title: str) -> None:
        self._console, self._title = console, title
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(title, total=None, text="")
        self._started = self._printed = time.monotonic()
        self._base: tuple[int, float] | None = None  # how much was done at what time: the pace counts from there

    def __enter__(self) -> "ProgressLine":
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def update(self, done: int, total: int, text: str) -> None:
        """Show that `done` of `total` are done. Off a terminal lines come at most every `_PLAIN_EVERY_S`.

        Where more than one is done at a time, the first call tells what was done before: the time left is reckoned
        from the first call on, or from the line's start where that tells of one or none.
        """
        now = time.monotonic()
        if self._base is None:  # a resumed job starts late, and not always with a step of one
            self._base = (0, self._started) if done <= 1 else (done, now)
        self._progress.update(self._task, completed=done, total=total, text=text)
        if self._console.is_terminal or (now - self._printed < _PLAIN_EVERY_S and done < total):
            return
        self._printed = now
        parts = [f"{self._title} {done}/{total}", text, self._time_left(now, done, total)]
        self._console.print("  ".join(part for part in parts if part), highlight=False, soft_wrap=True)

    def _time_left(self, now: float, done: int, total: int) -> str:
        if done >= total:
            return "done"
        assert self._base is not None, "asked before anything was told"
        num_before, since = self._base
        return f"{(now - since) / (done - num_before) * (total - done):.0f} s left" if done > num_before else ""
