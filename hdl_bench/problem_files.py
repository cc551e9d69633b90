"""Sets of problems that a user has, in every form that `hdl_bench.problem_source` reads. Read and written."""

import json
from collections.abc import Iterable
from pathlib import Path

from hdl_bench.problem_row import problem_of_row
from hdl_bench.problem_source import read_rows
from hdl_bench.text_files import write_text
from verifiers.problem_json import problem_to_json
from verifiers.types import Problem


def read_problems(path: Path) -> list[Problem]:
    """The problems of a file, a folder or a data set, at least one.

    Raises:
        UsageError: no such file, no JSON, not a problem; the message names the file, the line and the key.
        ToolNotFound: a form that needs a package which is not installed.
    """
    return [problem_of_row(row) for row in read_rows(path)]


def write_problems(path: Path, problems: Iterable[Problem]) -> None:
    """Write problems as JSON lines. Raises InfrastructureError when that fails."""
    write_text(path, "".join(json.dumps(problem_to_json(problem)) + "\n" for problem in problems))
