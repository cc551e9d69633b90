"""What the tests of rollout workers share: problems, a config, and what may be compared of two runs."""

import json
import zlib

import torch
from fake_farm import FakeFarm
from safetensors.torch import load_file

from earl.config import config_from_dict
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


def by_checksum(text):
    return OUTCOMES[zlib.crc32(text.encode()) % 3]


class OpenFarm(FakeFarm):
    """A fake farm that a worker may open and close, and that may be served."""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        return None


def make_config(tiny_policy, tmp_path, name, **sections):
    values = {
        "run": {"dir": str(tmp_path), "name": name},
        "model": {"path": str(tiny_policy), "dtype": "float32"},
        "sampling": {"max_tokens": 12},
        "rollout": {"num_workers": 1, "is_local": False},
        "train": {"num_steps": 4, "num_problems": 2, "group_size": 4, "learning_rate": 1e-3, "checkpoint_every": 0},
    }
    for section, table in sections.items():
        values[section] = values.get(section, {}) | table
    return config_from_dict(values, origin="test")


def metrics_of(run, leave_out=("perf/",)):
    rows = [json.loads(line) for line in run.metrics_path.read_text().splitlines()]
    return [{key: value for key, value in row.items() if not key.startswith(leave_out)} for row in rows]


def assert_same_end(first, second):
    tensors, others = (load_file(next(end.checkpoint.folder.glob("*model.safetensors"))) for end in (first, second))
    assert tensors.keys() == others.keys()
    assert all(torch.equal(tensors[key], others[key]) for key in tensors)
