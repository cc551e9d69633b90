"""Reads a run folder for the report: what is there, and in words what is not. Writes nothing, judges nothing."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earl.config import Config
from earl.evaluate import Evaluation, ProblemScore
from earl.run_folder import RunFolder
from toolchain.errors import UsageError

Row = dict[str, Any]
_TOKEN_FIELDS = ("token_ids", "entropies", "classes", "gate", "advantage")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunData:
    """What a run folder holds. Parts that a command did not write are empty or None, and named in `absent`."""

    path: Path
    config: Config
    config_text: str
    steps: list[Row]  # metrics of reinforcement learning, one row a step
    warm_start: list[Row]  # metrics of supervised training
    completion_files: list[Path]  # in the order of steps
    before: Evaluation | None
    after: Evaluation | None
    wall_s: dict[str, float]  # seconds by phase, with "total"
    versions: dict[str, str]
    absent: list[str]


def read_run(path: Path) -> RunData:
    """The parts of a run folder. UsageError when it is none, or when one of its files is damaged."""
    run = RunFolder.open(path)
    rows = read_rows(run.metrics_path)
    steps = [row for row in rows if "reward" in row]
    warm_start = read_rows(path / "sft" / "metrics.jsonl") or [row for row in rows if "reward" not in row]
    summary = _read_json(path / "summary.json") or {}
    files = sorted((path / "completions").glob("step_*.*"))
    before, after = _read_evaluation(path / "eval_before.json"), _read_evaluation(path / "eval_after.json")
    parts = {
        "warm start (`earl sft` and `earl demo` write it)": warm_start,
        "reinforcement learning (`earl train` and `earl demo` write it)": steps,
        "completions": files,
        "evaluation before training (`earl demo` writes it)": before,
        "evaluation after training (`earl demo` writes it)": after,
    }
    return RunData(
        path=path,
        config=run.config(),
        config_text=(path / "config.toml").read_text(encoding="utf-8"),
        steps=steps,
        warm_start=warm_start,
        completion_files=files,
        before=before,
        after=after,
        wall_s=summary.get("wall_s", {}),
        versions=summary.get("versions") or _read_json(path / "versions.json") or {},
        absent=[name for name, part in parts.items() if not part],
    )


def read_rows(path: Path) -> list[Row]:
    """The rows of a JSONL file, none if it is not there. A last line that a crash cut off is left out."""
    if not path.is_file():
        return []
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(keepends=True), start=1):
        if not line.endswith("\n"):
            break
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            raise UsageError(f"{path}: line {number} is damaged ({error.msg}); remove that line") from error
    return rows


def read_completions(path: Path) -> list[Row]:
    """The rows of a file of completions, JSON lines or parquet. UsageError where it cannot be read or is damaged."""
    if path.suffix != ".parquet":
        return read_rows(path)
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UsageError(f"{path} needs the package pyarrow: pip install 'earl-rtl[parquet]'") from error
    try:
        rows = pyarrow.parquet.read_table(path).to_pylist(maps_as_pydicts="strict")
    except pyarrow.ArrowInvalid as error:
        raise UsageError(f"{path} is damaged ({str(error).splitlines()[0]}); remove it") from error
    return [
        {name: value for name, value in row.items() if value is not None or name not in _TOKEN_FIELDS} for row in rows
    ]


def _read_json(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UsageError(f"{path} is damaged ({error.msg}); remove it, the report does without") from error


def _read_evaluation(path: Path) -> Evaluation | None:
    scores = _read_json(path)
    if not scores:
        return None
    try:
        return Evaluation(scores=tuple(ProblemScore(**score) for score in scores), completions=(), judgements=())
    except TypeError as error:
        raise UsageError(f"{path} is from another version ({error}); evaluate again") from error
