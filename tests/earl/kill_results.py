"""What a run has come to, for `kill_runs` to compare."""

import itertools
import json
from pathlib import Path
from typing import Any

import torch
from kill_child import RUN
from kill_kinds import NUM_STEPS, Kind

from earl import checkpoint
from earl.metrics import is_of_machine


def journal_keys(run: Path) -> list[str]:
    """The keys of the whole lines of all journals of a run: the trainer's and its workers'."""
    keys = []
    for path in sorted(run.glob("verdicts*.jsonl")):
        data = path.read_bytes()
        keys += [json.loads(line)["key"] for line in data[: data.rfind(b"\n") + 1].splitlines()]
    return keys


def result_of(folder: Path, *, is_alike: bool = False) -> dict[str, bytes]:
    """What a run has come to, by file: all that must not depend on whether it was killed.

    `is_alike` leaves out what says who sampled.
    """
    run = folder / RUN
    saved = checkpoint.newest(run / "checkpoints")
    assert saved is not None
    parts = {f"checkpoint/{path.name}": path.read_bytes() for path in saved.folder.iterdir()}
    state = checkpoint.load_state(saved)
    left_out: tuple[str, ...] = ()
    if is_alike:
        left_out = ("staleness/",)
        del state["rollouts"], state["identity"]["config"]["rollout"]
    # Equal values are pickled to other bytes when they are other objects; trainer.json has the digest of these bytes.
    parts["checkpoint/state.pt"] = json.dumps(state, default=_tensor_values).encode()
    del parts["checkpoint/trainer.json"]
    parts |= {f"completions/{path.name}": path.read_bytes() for path in (run / "completions").iterdir()}
    rows = [
        {name: row[name] for name in row if not (is_of_machine(name) or name.startswith(left_out))}
        for row in _rows(run)
    ]
    parts["metrics.jsonl"] = "\n".join(json.dumps(row, sort_keys=True) for row in rows).encode()
    parts["keys of the journals"] = "\n".join(sorted(journal_keys(run))).encode()
    return parts


def _rows(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def _tensor_values(tensor: torch.Tensor) -> list[Any]:
    return [str(tensor.dtype), tensor.tolist()]  # json writes floats so that they can be read back exactly


def assert_same(whole: dict[str, bytes], other: dict[str, bytes], which: str) -> None:
    """AssertionError that names the files that differ."""
    assert whole.keys() == other.keys(), f"{which}: {sorted(whole.keys() ^ other.keys())}"
    others = [name for name in whole if whole[name] != other[name]]
    assert not others, f"{which}: the run ended with another {', '.join(others)}"


def assert_kept(folder: Path, kind: Kind) -> None:
    """What every kind promises: all steps, each once; no verdict judged twice; no group staler than permitted."""
    run = folder / RUN
    rows = _rows(run)
    assert [row["step"] for row in rows] == list(range(1, NUM_STEPS + 1))
    assert len(list((run / "completions").iterdir())) == NUM_STEPS
    saved = checkpoint.newest(run / "checkpoints")
    assert saved is not None
    assert saved.step == NUM_STEPS
    keys = journal_keys(run)
    assert len(set(keys)) == len(keys), "a verdict is twice in the journals"
    assert max(row.get("staleness/max", 0) for row in rows) <= kind.rollout.get("max_staleness", 0)
    assert not (run / "rollouts").exists() or not list((run / "rollouts").iterdir()), "a session was left"


def durations(seen: list[tuple[str, float]]) -> dict[str, float]:
    """The longest time that each phase of an unbroken run took, up to the next one."""
    longest: dict[str, float] = {}
    for (name, start), (_, stop) in itertools.pairwise(seen):
        longest[name] = max(longest.get(name, 0.0), stop - start)
    assert len(longest) >= 4, longest
    return longest
