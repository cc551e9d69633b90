"""Where a run's numbers go: always metrics.jsonl, and a live line for the person who watches."""

import json
import os
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class MetricsLog:
    """Append-only JSON lines, one a step. On resume the lines after the checkpoint's step are cut off."""

    def __init__(self, path: Path, *, last_step: int = 0) -> None:
        if path.exists():
            kept = []
            for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
                if line.endswith("\n") and json.loads(line)["step"] <= last_step:
                    kept.append(line)
            path.write_text("".join(kept), encoding="utf-8")
        self._file = path.open("a", encoding="utf-8")

    def write(self, step: int, values: dict[str, float]) -> None:
        self._file.write(json.dumps({"step": step, **values, "perf/unix_time": time.time()}) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The rows of a metrics file; none if there is no file yet."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


class ProgressLine:
    """One live line on a terminal (with the time left), or plain lines where nobody can watch it move."""

    def __init__(self, console: Console, title: str, total: int, *, done: int = 0) -> None:
        self._console, self._title, self._total = console, title, total
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            MofNCompleteColumn(),
            TextColumn("{task.fields[text]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(title, total=total, completed=done, text="")
        self._done, self._first, self._started = done, done, time.monotonic()
        self._printed = self._started

    def __enter__(self) -> "ProgressLine":
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def set_total(self, total: int) -> None:
        """Correct the number of steps once it is known."""
        self._total = total
        self._progress.update(self._task, total=total)

    def update(self, done: int, text: str, *, every_s: float = 0.0) -> None:
        """Show progress. Off a terminal a line is printed, but no more often than `every_s`."""
        self._done = done
        self._progress.update(self._task, completed=done, text=text)
        now = time.monotonic()
        if self._console.is_terminal or (now - self._printed < every_s and done < self._total):
            return
        self._printed = now
        pace = (now - self._started) / max(done - self._first, 1)
        left = f"{pace * (self._total - done):.0f} s left" if done < self._total else "done"
        self._console.print(f"{self._title} {done}/{self._total}  {text}  {left}", highlight=False, soft_wrap=True)
