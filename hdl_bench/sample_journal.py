"""The samples of a run on disk, each on the disk before it counts: a killed run loses no sample that was paid for.

One JSON line a sample, in the order in which they finished; `earl score --samples` reads the file too. A line that a
kill cut short is cut off on opening.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hdl_bench.prompts import prompt_sha256
from hdl_bench.sampler import Sampled
from toolchain.errors import InfrastructureError, UsageError

Key = tuple[str, int]  # problem_id, sample_idx


class SampleJournal:
    """Append-only. `rows` holds what is on disk. `prompts` are those of the run as they are sent, by problem_id.

    Raises UsageError for a file that holds something else.
    """

    def __init__(self, path: Path, prompts: dict[str, object]) -> None:
        self._prompts = prompts
        self._hashes = {problem_id: prompt_sha256(prompt) for problem_id, prompt in prompts.items()}
        self.rows: dict[Key, dict[str, Any]] = {}
        self._num_tokens: list[int | None] = [0, 0]
        if path.exists():
            data = path.read_bytes()
            whole = data[: data.rfind(b"\n") + 1]
            for number, line in enumerate(whole.split(b"\n")[:-1], start=1):
                row = _row(line, f"{path}: line {number}")
                self._take(row)
            if len(whole) < len(data):
                os.truncate(path, len(whole))
        try:
            self._file = path.open("ab")
        except OSError as error:
            raise InfrastructureError(f"cannot write {path}: {error.strerror}; choose another folder") from error

    def append(self, answers: Sequence[Sampled]) -> None:
        """Put answers on the disk, all in one write. InfrastructureError when the disk refuses."""
        rows = [
            {
                "problem_id": answer.problem_id,
                "sample_idx": answer.sample_idx,
                "completion": answer.text,
                "finish_reason": answer.finish_reason,
                "num_prompt_tokens": answer.num_prompt_tokens,
                "num_completion_tokens": answer.num_completion_tokens,
                "seed": answer.seed,
                "prompt": self._prompts[answer.problem_id],
                "prompt_hash": self._hashes[answer.problem_id],
            }
            for answer in answers
        ]
        try:
            self._file.write("".join(json.dumps(row) + "\n" for row in rows).encode("ascii"))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise InfrastructureError(
                f"cannot write {self._file.name}: {error.strerror}; free some disk space and --resume"
            ) from error
        for row in rows:
            self._take(row)

    @property
    def num_tokens(self) -> tuple[int, int] | None:
        """Tokens of prompts and of completions so far; None where some sample does not tell."""
        prompts, completions = self._num_tokens
        return None if prompts is None or completions is None else (prompts, completions)

    def _take(self, row: dict[str, Any]) -> None:
        self.rows[row["problem_id"], row["sample_idx"]] = row
        counts = (row["num_prompt_tokens"], row["num_completion_tokens"])
        self._num_tokens = [
            None if total is None or count is None else total + count
            for total, count in zip(self._num_tokens, counts, strict=True)
        ]

    def close(self) -> None:
        self._file.close()


def _row(line: bytes, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        row["problem_id"], row["sample_idx"], row["completion"], row["num_prompt_tokens"], row["num_completion_tokens"]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{where} is no sample of a run ({error!r}); start a new run, or mend the line") from error
    return row
