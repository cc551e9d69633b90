"""Programs that were compiled once, by the hash of all that went into them: simulators' runtimes, goldens, candidates.

An entry is a folder. It is made beside its final place and renamed into it, so that several processes may share a
cache: the first one's stays. The least recently used entries go when the cache passes its size. Nothing here is shown
to a candidate: its simulation gets a copy of its own program.
"""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from toolchain.errors import UsageError

MAX_BYTES = 2 << 30
_ABANDONED_S = 3600.0  # a build that has not ended by then was killed
_KEEP_SHARE = 0.9  # of the size, after entries had to go


def default_folder() -> Path:
    """Where builds are kept unless told otherwise: `$XDG_CACHE_HOME/earl-rtl/builds`."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "earl-rtl" / "builds"


def build_key(parts: Iterable[str]) -> str:
    """The key of what `parts` (sources, options, versions) determine. Where one part ends is part of the hash."""
    digest = hashlib.sha256()
    for part in parts:
        text = part.encode(errors="surrogatepass")
        digest.update(f"{len(text)}:".encode() + text)
    return digest.hexdigest()


class BuildCache:
    """Folders by key, in one folder. Raises UsageError when that cannot be made."""

    def __init__(self, folder: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"the build cache {folder} cannot be made: {error.strerror}; name another.") from error

    def get(self, key: str, build: Callable[[Path], None]) -> Path:
        """The folder of `key`; `build` fills an empty one when it is not there. What `build` raises leaves no entry."""
        place = self._folder / key
        with suppress(FileNotFoundError):
            os.utime(place)  # used now
            return place
        with tempfile.TemporaryDirectory(prefix="new-", dir=self._folder) as name:
            fresh = Path(name) / "entry"
            fresh.mkdir()
            build(fresh)
            with suppress(OSError):  # another process was first: its entry is as good
                fresh.rename(place)
        if not place.is_dir():
            raise UsageError(f"the build cache {self._folder} takes no entries; is its disk full or read-only?")
        self._make_room(keep=place)
        return place

    def _make_room(self, *, keep: Path) -> None:
        for path in self._folder.glob("new-*"):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _ABANDONED_S:
                    shutil.rmtree(path, ignore_errors=True)
        entries = [(path.stat().st_mtime, path, _size(path)) for path in self._folder.iterdir() if path.is_dir()]
        total = sum(size for _, _, size in entries)
        if total <= self._max_bytes:
            return
        for _, path, size in sorted(entries):
            if path != keep and not path.name.startswith("new-"):
                shutil.rmtree(path, ignore_errors=True)
                total -= size
            if total <= self._max_bytes * _KEEP_SHARE:
                return


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # another process made room
            total += path.lstat().st_size
    return total
