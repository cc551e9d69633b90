"""Training with a service and with the local farm differ in nothing else."""

import json

import pytest
import torch
from click.testing import CliRunner
from pydantic import TypeAdapter
from safetensors.torch import load_file
from serving import GOLDEN, PARITY, serving

from earl.cli.common import with_verifier
from earl.cli.train import command
from earl.config import config_from_dict, load_config
from earl.metrics import is_of_machine
from earl.run_folder import RunFolder
from earl.train import train
from toolchain.errors import UsageError
from verifiers.client import ServiceClient
from verifiers.farm import Farm
from verifiers.judgement import Judgement

pytestmark = [pytest.mark.tool, pytest.mark.slow, pytest.mark.usefixtures("one_thread")]


def _config(tiny_policy, tmp_path, name):
    return config_from_dict(
        {
            "run": {"dir": str(tmp_path), "name": name},
            "model": {"path": str(tiny_policy), "dtype": "float32"},
            "sampling": {"max_tokens": 12},
            "train": {"num_steps": 2, "num_problems": 1, "group_size": 4, "learning_rate": 1e-3, "checkpoint_every": 0},
        },
        origin="test",
    )


class _Wrapped:
    """Makes the tiny policy's noise a design, right or wrong by its length, so that rewards differ within a group."""

    def __init__(self, judge) -> None:
        self._judge = judge
        self.judgements = []

    def submit(self, problem, text, seeds):
        operator = "^" if len(text) % 2 else "|"
        future = self._judge.submit(problem, GOLDEN.replace("^", operator) + f"// {len(text)}\n", seeds)
        future.add_done_callback(lambda done: self.judgements.append(done.result()))
        return future

    def stats(self):
        return self._judge.stats()


def _run(tiny_policy, tmp_path, name, judge):
    config = _config(tiny_policy, tmp_path, name)
    run = RunFolder.create(config, default_name="x")
    wrapped = _Wrapped(judge)
    result = train(config, run, [PARITY], wrapped)
    rows = [json.loads(line) for line in run.metrics_path.read_text().splitlines()]
    rows = [{key: value for key, value in row.items() if not is_of_machine(key)} for row in rows]
    journal = [json.loads(line)["judgement"] for line in (run.path / "verdicts.jsonl").read_text().splitlines()]
    assert len(journal) == len(wrapped.judgements)
    assert all(TypeAdapter(Judgement).validate_python(row) in wrapped.judgements for row in journal)
    outcomes = {judgement.verdict.outcome for judgement in wrapped.judgements}
    return load_file(result.checkpoint.folder / "model.safetensors"), rows, outcomes


def test_weights_and_metrics_are_equal_with_a_service_and_with_the_local_farm(tiny_policy, tmp_path):
    with Farm(num_workers=1, isolation="rlimits") as farm:
        weights, rows, outcomes = _run(tiny_policy, tmp_path, "local", farm)
        with serving(farm) as url, ServiceClient(url) as client:
            other_weights, other_rows, other_outcomes = _run(tiny_policy, tmp_path, "served", client)
    assert outcomes == other_outcomes
    assert len(outcomes) == 2, "the rewards must differ, or nothing was learned"
    assert rows == other_rows
    assert weights.keys() == other_weights.keys()
    assert all(torch.equal(weights[name], other_weights[name]) for name in weights)
    before = load_file(tiny_policy / "model.safetensors")
    assert any(not torch.equal(before[name], weights[name]) for name in before)


def test_the_option_is_short_for_the_address(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text('[verifier]\naddress = "local"\n')
    for address in ("http://127.0.0.1:8765", "https://judge.example:1/x", "ray", "ray://head:10001", "auto", "local"):
        assert load_config(path, with_verifier(("verifier.num_workers=3",), address)).verifier.address == address
    assert with_verifier(("a.b=1",), None) == ("a.b=1",)


def test_an_address_of_no_known_form_ends_the_command_before_a_run_is_made(tiny_policy, tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(f'[run]\ndir = "{tmp_path}/runs"\n[model]\npath = "{tiny_policy}"\n')
    result = CliRunner().invoke(command, [str(path), "--verifier", "nearby", "problems.num_problems=2"])
    assert isinstance(result.exception, UsageError)
    assert "the verifier's address is 'nearby'; it must be local, http(s)://HOST:PORT" in str(result.exception)
    assert not (tmp_path / "runs").exists()
