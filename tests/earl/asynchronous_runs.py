"""What the tests of rollout workers share beside `trainer_runs`."""

import torch
import trainer_runs
from fake_farm import FakeFarm
from safetensors.torch import load_file


class OpenFarm(FakeFarm):
    """A fake farm that a worker may open and close, and that may be served."""

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        return None


def make_config(tiny_policy, tmp_path, name, **sections):
    rollout = {"num_workers": 1, "is_local": False} | sections.pop("rollout", {})
    return trainer_runs.make_config(tiny_policy, tmp_path, name, rollout=rollout, **sections)


def assert_same_end(first, second):
    tensors, others = (load_file(next(end.checkpoint.folder.glob("*model.safetensors"))) for end in (first, second))
    assert tensors.keys() == others.keys()
    assert all(torch.equal(tensors[key], others[key]) for key in tensors)
