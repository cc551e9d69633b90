"""Reads a set of problems as raw rows: JSON, JSON lines, parquet, a folder, a data set of the Hugging Face Hub.

What a row means is for `hdl_bench.problem_row` to say. A folder holds `.jsonl` files, or one sub-folder a problem:

    my_problems/counter/prompt.md      what the model reads (or prompt.txt)
    my_problems/counter/golden.sv      a right design (or .v); and, or else:
    my_problems/counter/testbench.sv   a testbench (or .v)
    my_problems/counter/test.py        a cocotb test module
    my_problems/counter/problem.toml   any further key of a row: top_module, rule, is_trusted ...
    my_problems/counter/files/         what the tests read or import
"""

import importlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from hdl_bench.text_files import json_lines, read_text
from toolchain.errors import InfrastructureError, ToolNotFound, UsageError

HUB_PREFIX = "hf:"
# key of a row -> the names of its file in a problem's folder
_FILES = {
    "prompt": ("prompt.md", "prompt.txt"),
    "golden": ("golden.sv", "golden.v"),
    "testbench": ("testbench.sv", "testbench.v"),
    "cocotb": ("test.py",),
}
_KEYS_FILE, _DATA_FOLDER = "problem.toml", "files"


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceRow:
    """One row as it was read. `where` is its place for messages, `default_id` its name if it has none of its own.

    `is_table`: it comes from a table whose other columns are no mistake.
    """

    where: str
    default_id: str
    data: Any
    is_table: bool = False


def read_rows(source: Path) -> list[SourceRow]:
    """The rows of a file, a folder or `hf:OWNER/NAME[@REVISION][:SPLIT]`, at least one.

    Raises:
        UsageError: no such thing, no JSON, an empty set, a folder without problems; the message names the file.
        ToolNotFound: parquet without pyarrow, a Hub data set without `datasets`.
        InfrastructureError: the Hub does not give the data set.
    """
    if str(source).startswith(HUB_PREFIX):
        rows = _read_hub(str(source).removeprefix(HUB_PREFIX))
    elif source.is_dir():
        rows = _read_folder(source)
    elif source.suffix == ".parquet":
        rows = _read_parquet(source)
    else:
        rows = _read_json(source)
    if not rows:
        raise UsageError(f"{source} holds no problem; write one with `earl problems make --out {source.name}`")
    return rows


def _read_json(path: Path) -> list[SourceRow]:
    text = read_text(path)
    try:
        document = json.loads(text)
    except json.JSONDecodeError:
        placed = json_lines(path, text)
    else:
        rows = document.get("problems", [document]) if isinstance(document, dict) else document
        if not isinstance(rows, list):
            raise UsageError(f"{path} holds no problem; give an object, or a list of them, got {rows!r:.60}")
        places = [f"{path} (number {index} from 0)" if len(rows) > 1 else str(path) for index in range(len(rows))]
        placed = list(zip(places, rows, strict=True))
    return [
        SourceRow(where=where, default_id=f"{path.stem}-{index}", data=row) for index, (where, row) in enumerate(placed)
    ]


def _read_folder(folder: Path) -> list[SourceRow]:
    files = sorted(folder.glob("*.jsonl"))
    if files:
        return [row for file in files for row in _read_json(file)]
    rows = [_read_problem_folder(path) for path in sorted(folder.iterdir()) if path.is_dir()]
    if not rows:
        raise UsageError(
            f"{folder} holds no .jsonl file and no sub-folder; give each problem a sub-folder with prompt.md"
        )
    return rows


def _read_problem_folder(folder: Path) -> SourceRow:
    data: dict[str, Any] = {}
    if (folder / _KEYS_FILE).exists():
        try:
            data = tomllib.loads(read_text(folder / _KEYS_FILE))
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"{folder / _KEYS_FILE} is no valid TOML: {error}") from error
    for key, names in _FILES.items():
        there = [folder / name for name in names if (folder / name).exists()]
        if len(there) > 1 or (there and key in data):
            raise UsageError(f"{folder} says {key!r} twice; keep one of {', '.join((*names, _KEYS_FILE))}")
        if there:
            data[key] = read_text(there[0])
    if "prompt" not in data:
        raise UsageError(f"{folder} has no {' or '.join(_FILES['prompt'])}; write what the model is to read into one")
    beside = folder / _DATA_FOLDER
    if beside.is_dir():
        paths = sorted(path for path in beside.rglob("*") if path.is_file())
        data["files"] = {path.relative_to(beside).as_posix(): read_text(path) for path in paths}
    return SourceRow(where=str(folder), default_id=folder.name, data=data)


def _read_parquet(path: Path) -> list[SourceRow]:
    parquet = _import("pyarrow.parquet", "a parquet file")
    if not path.is_file():
        raise UsageError(f"cannot read {path}: no such file; give the path of a parquet file")
    try:
        rows = parquet.read_table(path).to_pylist()
    except (OSError, ValueError) as error:  # pyarrow's own errors are of these
        raise UsageError(f"{path} cannot be read as parquet: {error}") from error
    return [_table_row(f"{path}: row {index}", f"{path.stem}-{index}", row) for index, row in enumerate(rows)]


def _read_hub(name: str) -> list[SourceRow]:
    """A data set of the Hub, or of the local folder that `datasets` knows by this name."""
    name, _, split = name.partition(":")
    name, _, revision = name.partition("@")
    datasets = _import("datasets", "a data set of the Hub")
    try:
        table = datasets.load_dataset(name, split=split or None, revision=revision or None)
    except ValueError as error:  # no such split, no such configuration
        raise UsageError(f"{HUB_PREFIX}{name}: {error}") from error
    except Exception as error:  # the network, the Hub, a damaged cache: what the library says
        raise InfrastructureError(
            f"{HUB_PREFIX}{name} cannot be loaded: {type(error).__name__}: {error}. Check the name and the network, "
            "or download its parquet file and give that."
        ) from error
    if isinstance(table, Mapping):
        raise UsageError(f"{HUB_PREFIX}{name} has the splits {', '.join(table)}; choose one: {HUB_PREFIX}{name}:SPLIT")
    short = name.rsplit("/", 1)[-1]
    return [_table_row(f"{HUB_PREFIX}{name}: row {index}", f"{short}-{index}", row) for index, row in enumerate(table)]


def _table_row(where: str, default_id: str, row: dict[str, Any]) -> SourceRow:
    return SourceRow(where=where, default_id=default_id, data=_without_nulls(row), is_table=True)


def _without_nulls(value: Any) -> Any:
    """A table gives every row all keys, at any depth: what is null was not said."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _import(module: str, what: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ToolNotFound(f"{what} needs the package {package}; pip install 'earl-rtl[datasets]'") from error
