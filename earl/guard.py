"""What happens to an update whose loss or gradient is NaN or infinite: it is left out, kept for inspection, counted.

`earl.step` and `earl.sft` leave it out, so weights and optimiser are as if it had not been tried; with several
mini-batches the other ones still train. Three steps in a row with such an update end the run.
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import save_file

from earl.batch import slice_groups
from earl.step import SkippedUpdate, StepResult
from earl.types import Rollout, TokenBatch
from toolchain.errors import EarlError, InfrastructureError

MAX_IN_A_ROW = 3


class TrainingDiverged(EarlError, ArithmeticError):
    """Too many steps in a row had a loss or a gradient that is no finite number. Exit code 1."""

    exit_code = 1


class Guard:
    """Hears of every step. The number of bad steps in a row is state of the run: `state_dict`.

    `remedy` is the key of the learning rate.
    """

    def __init__(self, folder: Path, warn: Callable[[str], None], *, remedy: str = "train.learning_rate") -> None:
        self._folder, self._warn, self._remedy = folder, warn, remedy
        self._num_in_a_row = 0

    def hear(self, step: int, skipped: Sequence[SkippedUpdate], keep: Callable[[SkippedUpdate, Path], None]) -> None:
        """Let `keep` write the batch of what was skipped into a folder, and warn of it.

        Raises:
            TrainingDiverged: this is the third step in a row; the count starts anew.
            InfrastructureError: the batch cannot be written.
        """
        for update in skipped:
            path = self._folder / f"step_{step:06d}_update_{update.number}"
            try:
                path.mkdir(parents=True, exist_ok=True)
                keep(update, path)
            except (OSError, SafetensorError) as error:
                raise InfrastructureError(f"cannot write {path}: {error}; free some disk space") from error
            self._warn(f"step {step}: {_words(update)}; the update is skipped, its batch is in {path}")
        self._num_in_a_row = self._num_in_a_row + 1 if skipped else 0
        if self._num_in_a_row == MAX_IN_A_ROW:
            self._num_in_a_row = 0
            raise TrainingDiverged(
                f"{MAX_IN_A_ROW} steps in a row had an update that is no finite number, at last step {step}:"
                f" {_words(skipped[-1])}. None of these was applied; look at {self._folder}, lower {self._remedy}, and"
                " resume"
            )

    def state_dict(self) -> dict[str, Any]:
        return {"num_in_a_row": self._num_in_a_row}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._num_in_a_row = state["num_in_a_row"]


def keep_batch(result: StepResult, skipped: SkippedUpdate, folder: Path) -> None:
    """`batch.safetensors` (the tensors of TokenBatch, and `gate`) and `rollouts.jsonl`, in the batch's order.

    `earl.replay` reads them.
    """
    assert result.batch is not None
    assert result.gate_N is not None
    part, tokens = slice_groups(result.batch, skipped.first_group, skipped.last_group + 1)
    inside_B = (result.batch.group_ids >= skipped.first_group) & (result.batch.group_ids <= skipped.last_group)
    rows = [_row(result.trained[index]) for index in inside_B.nonzero().flatten().tolist()]
    save_file(_tensors(part) | {"gate": result.gate_N[tokens].contiguous()}, folder / "batch.safetensors")
    (folder / "rollouts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _words(skipped: SkippedUpdate) -> str:
    return f"loss {skipped.loss:g}, gradient norm {skipped.grad_norm:g} in update {skipped.number}"


def _tensors(batch: TokenBatch) -> dict[str, Any]:
    values = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    return {name: value.contiguous() for name, value in values.items() if value is not None}


def _row(rollout: Rollout) -> dict[str, Any]:
    return {
        "problem_id": rollout.problem_id,
        "text": rollout.completion.text,
        "finish_reason": rollout.completion.finish_reason,
        "outcome": rollout.verdict.outcome.value,
        "reward": rollout.reward.value if rollout.reward else None,
        "prompt_token_ids": list(rollout.completion.prompt_token_ids),
        "token_ids": list(rollout.completion.token_ids),
    }
