"""Temporary folders that do not outlive their owner for long: what a killed process leaves, the next one removes.

An owner holds a lock on its folder, which the kernel takes away however the owner ends.
"""

import fcntl
import functools
import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

_PREFIX = "earl-scratch-"
_YOUNG_S = 60.0  # a folder that was made just now may not be locked yet


class Scratch:
    """A new folder for temporary files, until `remove`. The first one in a process removes those that were left."""

    def __init__(self, purpose: str) -> None:
        _sweep_once(tempfile.gettempdir())
        self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{purpose}-"))
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def remove(self) -> None:
        """Remove the folder with all that is in it. Idempotent."""
        if self._lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


def sweep(root: Path, *, young_s: float = _YOUNG_S) -> list[Path]:
    """Remove the folders in `root` whose owners are gone; returns them. Those of other users are left alone."""
    removed = []
    for path in root.glob(f"{_PREFIX}*"):
        with suppress(OSError):  # another user's, in use (BlockingIOError), or removed meanwhile
            if time.time() - path.stat().st_mtime < young_s:
                continue
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
                removed.append(path)
            finally:
                os.close(lock)
    return removed


@functools.cache
def _sweep_once(root: str) -> None:
    sweep(Path(root))
