"""Problems in files of the user's own: JSON lines, one problem a line, as `earl problems make --out` writes them."""

import json
from pathlib import Path

from toolchain.errors import UsageError
from verifiers.problem_json import problem_from_json
from verifiers.types import Problem


def read_problems(path: Path) -> list[Problem]:
    """The problems of a .jsonl file, or of all such files in a folder, by file name.

    Raises UsageError for what is no problem (by file and line), a problem_id given twice, and no problem at all.
    """
    files = sorted(path.glob("*.jsonl")) if path.is_dir() else [path]
    problems = [problem for file in files for problem in _read_file(file)]
    if not problems:
        raise UsageError(f"{path} holds no problem; write some with `earl problems make --out FILE.jsonl`")
    seen: set[str] = set()
    for problem in problems:
        if problem.problem_id in seen:
            raise UsageError(f"{path} has the problem_id {problem.problem_id!r} twice; give each problem its own")
        seen.add(problem.problem_id)
    return problems


def _read_file(path: Path) -> list[Problem]:
    problems = []
    for where, row in read_rows(path):
        try:
            problems.append(problem_from_json(row))
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from error
    return problems


def read_rows(path: Path) -> list[tuple[str, object]]:
    """The JSON values of a file of JSON lines, each with its place for messages. UsageError for what is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; give a file of JSON lines") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no UTF-8 text (byte {error.start}); convert it first") from error
    rows: list[tuple[str, object]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path}: line {number}"
        try:
            rows.append((where, json.loads(line)))
        except json.JSONDecodeError as error:
            raise UsageError(f"{where} is no JSON ({error.msg}, column {error.colno})") from error
    return rows
