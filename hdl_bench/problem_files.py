"""Problem files: JSON of one problem, a document with `problems`, or JSON lines of several. Read and written."""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from toolchain.errors import InfrastructureError, UsageError
from verifiers.problem_json import problem_from_json, problem_to_json
from verifiers.types import Problem


def read_problems(path: Path) -> list[Problem]:
    """The problems of a file, at least one.

    Raises:
        UsageError: no such file, no JSON, not a problem; the message names the file and, of several, the problem.
    """
    rows = _rows(path)
    problems = []
    for index, row in enumerate(rows):
        try:
            problems.append(problem_from_json(row))
        except UsageError as error:
            which = f" (number {index} from 0)" if len(rows) > 1 else ""
            raise UsageError(f"{path}{which}: {error}") from error
    return problems


def read_text(path: Path) -> str:
    """The text of a file the user named. Raises UsageError when it cannot be read or is no UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; give the path of a text file") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no UTF-8 text (byte {error.start}); convert it first") from error


def _rows(path: Path) -> list[Any]:
    text = read_text(path)
    try:
        document = json.loads(text)
    except json.JSONDecodeError:
        rows = [row for _, row in _json_lines(path, text)]
    else:
        rows = document["problems"] if isinstance(document, dict) and "problems" in document else [document]
    if not isinstance(rows, list) or not rows:
        raise UsageError(f"{path} holds no problem; write one with `earl problems make --out {path.name}`")
    return rows


def read_json_lines(path: Path) -> list[tuple[str, Any]]:
    """The values of a file of JSON lines, each with its place for messages. UsageError that names what is no JSON."""
    return _json_lines(path, read_text(path))


def _json_lines(path: Path, text: str) -> list[tuple[str, Any]]:
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


def write_problems(path: Path, problems: Iterable[Problem]) -> None:
    """Write problems as JSON lines. Raises InfrastructureError when that fails."""
    write_text(path, "".join(json.dumps(problem_to_json(problem)) + "\n" for problem in problems))
