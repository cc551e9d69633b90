"""What the tests of training runs share: problems, outcomes, a small config, and the metrics that may be compared."""

import json
import zlib

from earl.config import Config, config_from_dict
from earl.metrics import is_of_machine
from earl.run_folder import RunFolder
from verifiers.types import Outcome, Problem, ReferenceOracle

PROBLEMS = [
    Problem(
        problem_id=f"p{number}",
        source="test",
        prompt=f"assign y = a{number}",
        top_module="TopModule",
        ports=None,
        oracle=ReferenceOracle(golden="", golden_top="TopModule"),
    )
    for number in range(6)
]
OUTCOMES = (Outcome.PASSED, Outcome.MISMATCH, Outcome.SYNTAX_ERROR)


def by_checksum(text: str) -> Outcome:
    """An outcome that is the text's own and looks like chance."""
    return OUTCOMES[zlib.crc32(text.encode()) % 3]


def make_config(tiny_policy, tmp_path, name: str, **sections: dict) -> Config:
    """Four steps of two groups of four on the tiny policy; `sections` are laid over it."""
    values = {
        "run": {"dir": str(tmp_path), "name": name},
        "model": {"path": str(tiny_policy), "dtype": "float32"},
        "sampling": {"max_tokens": 12},
        "train": {"num_steps": 4, "num_problems": 2, "group_size": 4, "learning_rate": 1e-3, "checkpoint_every": 0},
    }
    for section, table in sections.items():
        values[section] = values.get(section, {}) | table
    return config_from_dict(values, origin="test")


def metrics_of(run: RunFolder, leave_out: str | tuple[str, ...] = ()) -> list[dict]:
    """The rows of a run's metrics without those of the machine, and without the keys that begin like this."""
    rows = [json.loads(line) for line in run.metrics_path.read_text().splitlines()]
    return [{k: v for k, v in row.items() if not (is_of_machine(k) or k.startswith(leave_out))} for row in rows]
