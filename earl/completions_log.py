"""The completions of a step on disk: text, verdict, reward, and per token its entropy, class and gate.

JSON lines, or parquet (the extra `parquet`) for those who read many steps at once; both hold the same rows.
"""

import json
from pathlib import Path
from typing import Any

from earl.step import StepResult
from earl.token_class import CLASSES
from earl.types import Rollout
from toolchain.errors import InfrastructureError


def write_completions(path: Path, step: int, result: StepResult) -> None:
    """One row a rollout, in order, in the format of the suffix. Those that were not trained on have no token fields."""
    rows, number = [], 0
    starts = result.batch.row_offsets.tolist() if result.batch is not None else []
    trained = {id(rollout) for rollout in result.trained}
    for group in result.rollouts:
        for sample, rollout in enumerate(group):
            row = _row(step, sample, rollout)
            if id(rollout) in trained:
                start, stop = starts[number], starts[number + 1]
                number += 1
                assert result.batch is not None
                assert result.gate_N is not None
                row["token_ids"] = list(rollout.completion.token_ids)
                row["entropies"] = [round(value, 4) for value in rollout.completion.entropies]
                row["classes"] = [CLASSES[index] for index in result.batch.token_classes[start:stop].tolist()]
                row["gate"] = [int(is_open) for is_open in result.gate_N[start:stop].tolist()]
                row["advantage"] = round(float(result.batch.advantages[start]), 6)
            rows.append(row)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")  # whoever reads beside a running job finds whole files
        if path.suffix == ".parquet":
            _write_parquet(partial, rows)
        else:
            partial.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise InfrastructureError(f"cannot write {path}: {error.strerror}; free some disk space") from error


def drop_completions(folder: Path, *, after: int) -> None:
    """Remove what a killed run wrote of steps after `after`: they are trained again."""
    for file in folder.glob("*step_*") if folder.is_dir() else ():
        if int(file.name.partition("step_")[2].partition(".")[0]) > after:
            file.unlink()


def _write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    import pyarrow
    import pyarrow.parquet

    # UTF-8 cannot hold a lone surrogate, and a completion can: it is written escaped, as JSON would.
    for row in rows:
        row |= {name: row[name].encode("utf-8", "backslashreplace").decode("utf-8") for name in ("text", "message")}
    floats, words, integers = (pyarrow.list_(kind) for kind in (pyarrow.float32(), pyarrow.string(), pyarrow.int32()))
    known = {
        "step": pyarrow.int64(),
        "sample": pyarrow.int32(),
        "num_mismatches": pyarrow.int64(),
        "num_samples": pyarrow.int64(),
        "seed": pyarrow.int64(),
        "reward": pyarrow.float64(),
        "reward_parts": pyarrow.map_(pyarrow.string(), pyarrow.float64()),
        "token_ids": integers,
        "entropies": floats,
        "classes": words,
        "gate": integers,
        "advantage": pyarrow.float64(),
    }
    texts = ("problem_id", "text", "finish_reason", "outcome", "stage", "message")
    schema = pyarrow.schema([*((name, pyarrow.string()) for name in texts), *known.items()])
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), path)


def _row(step: int, sample: int, rollout: Rollout) -> dict[str, Any]:
    verdict = rollout.verdict
    return {
        "step": step,
        "problem_id": rollout.problem_id,
        "sample": sample,
        "text": rollout.completion.text,
        "finish_reason": rollout.completion.finish_reason,
        "outcome": verdict.outcome.value,
        "stage": verdict.stage.value,
        "message": verdict.diagnostics[0].message if verdict.diagnostics else "",
        "num_mismatches": verdict.num_mismatches,
        "num_samples": verdict.num_samples,
        "seed": verdict.seed,
        "reward": None if rollout.reward is None else rollout.reward.value,
        "reward_parts": None if rollout.reward is None else rollout.reward.parts,
    }
