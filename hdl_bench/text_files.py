"""Text files that a user named: read and written, with one clear error for what goes wrong."""

import json
import os
from pathlib import Path
from typing import Any

from toolchain.errors import InfrastructureError, UsageError


def read_text(path: Path) -> str:
    """The text of a file the user named. Raises UsageError when it cannot be read or is no UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; give the path of a text file") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no UTF-8 text (byte {error.start}); convert it first") from error


def read_json_lines(path: Path) -> list[tuple[str, Any]]:
    """The values of a file of JSON lines, each with its place for messages. UsageError that names what is no JSON."""
    return json_lines(path, read_text(path))


def json_lines(path: Path, text: str) -> list[tuple[str, Any]]:
    """As `read_json_lines`, of a text that was read from `path`."""
    rows = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        try:
            rows.append((where, json.loads(line)))
        except json.JSONDecodeError as error:
            raise UsageError(f"{where} is no JSON ({error.msg}, column {error.colno})") from error
    return rows


def write_text(path: Path, text: str) -> None:
    """Write a file the user named. Raises InfrastructureError that names it when that fails."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InfrastructureError(f"cannot write {path}: {error.strerror}; give another path") from error


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all: a temporary file, fsync, rename. Folders are made.

    Raises InfrastructureError when the disk refuses.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise InfrastructureError(f"cannot write {path}: {error.strerror}; free some disk space") from error
