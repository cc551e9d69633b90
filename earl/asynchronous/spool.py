"""The folder through which trainer and workers speak: tasks to do, claimed, done, and what workers died of.

Every document appears whole, by a rename; so does a claim, which is why two workers never hold one task. Each start of
a trainer has a session, a folder of its own, which is gone when it ends: a worker whose session is gone has no more to
do.
"""

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path

from earl.asynchronous.task import Failure, Finished, Task
from toolchain.errors import InfrastructureError

BEAT_EVERY_S = 5.0  # a worker touches its claim
SILENT_S = 60.0  # after which a claim that nobody touches is another's to take


class Spool:
    """One session. Every method is safe beside those of other processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._todo, self._claimed, self._done, self._failed = (
            folder / name for name in ("todo", "claimed", "done", "failed")
        )
        self._beats: dict[Path, tuple[int, float]] = {}  # claim -> its time stamp, and when we first saw that

    @classmethod
    def create(cls, root: Path) -> "Spool":
        """A new session under `root`; those of trainers that have died are removed.

        InfrastructureError when the disk refuses.
        """
        numbers = _sessions(root)
        target = root / f"{max(numbers, default=0) + 1:06d}"
        partial = root / f".{target.name}"
        try:
            shutil.rmtree(partial, ignore_errors=True)
            for name in ("todo", "claimed", "done", "failed", "weights"):
                (partial / name).mkdir(parents=True)
            partial.rename(target)
        except OSError as error:
            raise InfrastructureError(f"cannot make {target}: {error.strerror}; free space or check it") from error
        for number in numbers:
            shutil.rmtree(root / f"{number:06d}", ignore_errors=True)
        return cls(target)

    @classmethod
    def newest(cls, root: Path) -> "Spool | None":
        """The session of the trainer that started last, if there is one."""
        numbers = _sessions(root)
        return cls(root / f"{numbers[-1]:06d}") if numbers else None

    @property
    def weights(self) -> Path:
        """The folder of published weights."""
        return self.folder / "weights"

    @property
    def is_open(self) -> bool:
        """Whether the trainer's session goes on."""
        return self._todo.is_dir()

    def close(self) -> None:
        """End the session for all."""
        trash = self.folder.with_name(f".{self.folder.name}.closed")
        with suppress(FileNotFoundError):
            self.folder.rename(trash)  # at once, so that no worker writes into what is being removed
        shutil.rmtree(trash, ignore_errors=True)

    def put(self, task: Task) -> None:
        """Let a task be claimed."""
        _write(self._todo / task.name, task.to_json())

    def claim(self, worker: str) -> Task | None:
        """The task that is needed first, now this worker's; None when there is none."""
        for path in _documents(self._todo):
            mine = self._claimed / f"{path.name}@{worker}"
            with suppress(FileNotFoundError):  # another worker was first
                path.rename(mine)
                os.utime(mine)
                return Task.from_json(mine.read_text(encoding="utf-8"))
        return None

    def beat(self, task: Task, worker: str) -> None:
        """Say that a claimed task is being worked on."""
        with suppress(FileNotFoundError):  # taken from us: what we do is done twice, with the same result
            os.utime(self._claimed / f"{task.name}@{worker}")

    def finish(self, task: Task, finished: Finished) -> None:
        """Give back a claimed task."""
        _write(self._done / task.name, finished.to_json())
        (self._claimed / f"{task.name}@{finished.worker}").unlink(missing_ok=True)

    def done(self) -> list[str]:
        """Names of finished tasks that nobody has removed, in the order in which they were finished."""
        stamps = []
        for path in _documents(self._done):
            stamps.append((path.stat().st_mtime_ns, path.name))
        return [name for _, name in sorted(stamps)]

    def read(self, name: str) -> Finished:
        """What came of a finished task."""
        return Finished.from_json((self._done / name).read_text(encoding="utf-8"))

    def remove(self, name: str) -> None:
        """Forget a finished task."""
        (self._done / name).unlink(missing_ok=True)

    def release(self, worker: str) -> None:
        """Let the claims of a worker that has died be claimed anew."""
        for path in self._claimed.glob(f"*@{worker}"):
            self._release(path)

    def release_silent(self) -> list[str]:
        """Let claims be claimed anew that nobody has touched for `SILENT_S` of our own clock. Names the workers."""
        now, beats = time.monotonic(), {}
        for path in _documents(self._claimed):
            with suppress(FileNotFoundError):
                stamp = path.stat().st_mtime_ns
                seen = self._beats.get(path)
                beats[path] = seen if seen is not None and seen[0] == stamp else (stamp, now)
        silent = [path for path, (_, since) in beats.items() if now - since > SILENT_S]
        for path in silent:
            self._release(path)
        self._beats = {path: beat for path, beat in beats.items() if path not in silent}
        return [path.name.partition("@")[2] for path in silent]

    def _release(self, path: Path) -> None:
        with suppress(FileNotFoundError):  # it was finished just now
            path.rename(self._todo / path.name.partition("@")[0])

    def fail(self, worker: str, failure: Failure) -> None:
        """Leave word of what a worker dies of."""
        _write(self._failed / worker, failure.to_json())

    def take_failure(self, worker: str) -> Failure | None:
        """The last words of a worker, if it left any; they are removed."""
        path = self._failed / worker
        try:
            failure = Failure.from_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        path.unlink()
        return failure


def _write(path: Path, text: str) -> None:
    """A document, whole or not at all. FileNotFoundError when the session has ended: its folders are not made anew."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.rename(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InfrastructureError(f"cannot write {path}: {error.strerror}; free space or check it") from error


def _sessions(root: Path) -> list[int]:
    names = [path.name for path in root.iterdir()] if root.is_dir() else []
    return sorted(int(name) for name in names if name.isdecimal())


def _documents(folder: Path) -> list[Path]:
    """Whole documents, in the order of their names; temporary files begin with a dot."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
