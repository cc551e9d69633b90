"""Where a run's numbers go: always metrics.jsonl, and a live line for the person who watches."""

import json
import os
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_PLAIN_EVERY_S = 5.0


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
        self._first: int | None = None

    def __enter__(self) -> "ProgressLine":
        self._progress.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._progress.stop()

    def update(self, done: int, total: int, text: str) -> None:
        """Show that `done` of `total` steps are done. Off a terminal lines come at most every `_PLAIN_EVERY_S`."""
        now = time.monotonic()
        if self._first is None:
            self._first = done - 1  # a resumed run starts late
        self._progress.update(self._task, completed=done, total=total, text=text)
        if self._console.is_terminal or (now - self._printed < _PLAIN_EVERY_S and done < total):
            return
        self._printed = now
        pace_s = (now - self._started) / (done - self._first)
        left = f"{pace_s * (total - done):.0f} s left" if done < total else "done"
        self._console.print(f"{self._title} {done}/{total}  {text}  {left}", highlight=False, soft_wrap=True)
