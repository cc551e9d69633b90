"""The completions of a step on disk: text, verdict, reward, and per token its entropy, class and gate."""

import json
from pathlib import Path
from typing import Any

from earl.step import StepResult
from earl.token_class import CLASSES
from earl.types import Rollout
from toolchain.errors import InfrastructureError


def write_completions(path: Path, step: int, result: StepResult) -> None:
    """One JSON line a rollout, in order. Per-token fields are absent for rollouts that were not trained on."""
    rows, number = [], 0
    starts = result.batch.row_offsets.tolist() if result.batch is not None else []
    trained = _trained(result)
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
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    except OSError as error:
        raise InfrastructureError(f"cannot write {path}: {error.strerror}; free some disk space") from error


def _trained(result: StepResult) -> set[int]:
    """Which rollouts the batch holds, by identity: those of groups with two or more scored ones, in order."""
    kept: set[int] = set()
    for group in result.rollouts:
        scored = [rollout for rollout in group if rollout.reward is not None]
        if len(scored) >= 2:
            kept |= {id(rollout) for rollout in scored}
    return kept


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
