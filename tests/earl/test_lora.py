"""Adapters: what they change by hand, that sampler and trainer agree under them, how they are kept and merged."""

import copy
import json
import shutil

import pytest
import torch
from click.testing import CliRunner
from fake_farm import FakeFarm
from safetensors.torch import load_file
from trainer_runs import PROBLEMS, by_checksum, metrics_of
from transformers import AutoModelForCausalLM

from earl import forward, lora
from earl.cli import cli
from earl.config import PromptConfig, SamplingConfig, config_from_dict
from earl.engine import make_engine
from earl.forward import Sequences, lay_out, token_stats
from earl.hooks import Hooks
from earl.policy import Policy, load_policy, load_trainable
from earl.resume_check import identity_of, problem_digests, reopen
from earl.run_folder import RunFolder
from earl.sft import sft
from earl.sft_data import Example, SftData
from earl.train import train
from earl.update_params import LoraParams
from hdl_bench.types import Sampling
from toolchain.errors import UsageError

pytestmark = pytest.mark.usefixtures("one_thread")

LAYOUTS = [lay_out(Sequences(prompt=[5, 9, 2, 7], responses=([3, 4, 8, 0], [6, 0], [9, 9, 1, 0])))]


def _config(tiny_policy, tmp_path, name, **sections):
    values = {
        "run": {"dir": str(tmp_path), "name": name},
        "model": {"path": str(tiny_policy), "dtype": "float32"},
        "sampling": {"max_tokens": 12},
        "lora": {"rank": 4, "alpha": 8.0},
        "train": {"num_steps": 3, "num_problems": 2, "group_size": 4, "learning_rate": 1e-2, "checkpoint_every": 0},
    }
    for section, table in sections.items():
        values[section] = values.get(section, {}) | table
    return config_from_dict(values, origin="test")


def _train(config, farm=None, **options):
    run = RunFolder.create(config, default_name="x")
    return train(config, run, PROBLEMS, farm or FakeFarm(by_checksum), **options), run


def _adapted(model, *, is_moved=True, **settings):
    lora.add_adapters(model, LoraParams(rank=4, **settings), base="base", seed=0)
    if is_moved:
        torch.manual_seed(1)
        for name, parameter in lora.adapter_parameters(model).items():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1)
    return model


def _logprobs(model):
    return token_stats(model, LAYOUTS, temperature=1.0, dtype=torch.float32).logprob


def test_new_adapters_change_nothing_and_are_drawn_by_seed(tiny_model):
    before = _logprobs(tiny_model)
    other = copy.deepcopy(tiny_model)
    torch.manual_seed(5)
    _adapted(tiny_model, is_moved=False)
    torch.manual_seed(6)
    _adapted(other, is_moved=False)
    assert torch.equal(_logprobs(tiny_model), before)
    pairs = zip(lora.adapter_parameters(tiny_model).values(), lora.adapter_parameters(other).values(), strict=True)
    assert all(torch.equal(one, two) for one, two in pairs)


@pytest.mark.parametrize("is_ours", [True, False])
def test_only_adapters_have_gradients_on_either_pass_and_these_are_equal(tiny_model, monkeypatch, is_ours):
    model = _adapted(tiny_model.double())
    for parameter in lora.adapter_parameters(model).values():
        parameter.data = parameter.data.double()
    _logprobs(model).sum().backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    assert expected.keys() == lora.adapter_parameters(model).keys()
    assert len(expected) == 2 * 7 * 2  # two matrices, seven projections, two layers
    if not is_ours:
        model.zero_grad()
        monkeypatch.setattr(forward, "is_supported", lambda model: False)
        _logprobs(model).sum().backward()
        for name, gradient in expected.items():
            torch.testing.assert_close(model.get_parameter(name).grad, gradient, atol=1e-5, rtol=1e-4)


def test_a_rank_2_update_is_the_one_computed_by_hand(tiny_model):
    """One SGD step on one adapter: the merged matrix is W + s (B - lr s G A^T)(A - lr s B^T G), G the gradient of W."""
    name, scale, rate = "model.layers.1.mlp.down_proj", 8.0 / 2, 0.05
    plain = copy.deepcopy(tiny_model).double()
    model = tiny_model.double()
    lora.add_adapters(model, LoraParams(rank=2, alpha=8.0, target_modules=(name,)), base="base", seed=0)
    adapters = lora.adapter_parameters(model)
    first, second = (next(p for n, p in adapters.items() if part in n) for part in ("lora_A", "lora_B"))
    assert (first.shape, second.shape) == ((2, 64), (32, 2))
    torch.manual_seed(3)
    first.data, second.data = torch.randn(2, 64).double(), 0.1 * torch.randn(32, 2).double()

    weight = plain.get_parameter(f"{name}.weight")
    weight.data += scale * second.data @ first.data
    _logprobs(plain).sum().backward()
    _logprobs(model).sum().backward()
    gradient = weight.grad
    second_by_hand = second.data - rate * scale * gradient @ first.data.T
    first_by_hand = first.data - rate * scale * second.data.T @ gradient
    by_hand = model.get_submodule(name).weight.data + scale * second_by_hand @ first_by_hand

    torch.optim.SGD([first, second], lr=rate).step()
    torch.testing.assert_close(lora.merged_weight(model.get_submodule(name)), by_hand, atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize("engine", ["decode", "hf"])
def test_the_sampler_is_the_trainers_policy_under_adapters(tiny_model, tiny_encoder, engine):
    model = _adapted(tiny_model)
    sampler = make_engine(Policy(model=model, encoder=tiny_encoder), SamplingConfig(engine=engine), dtype="float32")
    (group,) = sampler.generate(["assign y = a"], Sampling(num_samples=4, max_tokens=20, temperature=1.0, seed=1))
    layout = lay_out(Sequences(prompt=group[0].prompt_token_ids, responses=tuple(c.token_ids for c in group)))
    with torch.no_grad():
        stats = token_stats(model, [layout], temperature=1.0, dtype=torch.float32)
        with lora.adapters_off(model):
            base = token_stats(model, [layout], temperature=1.0, dtype=torch.float32)
    sampled = torch.tensor([value for c in group for value in c.logprobs])
    torch.testing.assert_close(stats.logprob, sampled, atol=1e-4, rtol=0)
    assert (base.logprob - sampled).abs().max() > 0.05  # a sampler that forgot the adapters would not pass


def test_merging_keeps_the_function_and_makes_a_plain_model(tiny_model):
    model = _adapted(tiny_model)
    before, names = _logprobs(model).detach(), {name for name, _ in model.named_parameters() if "lora" not in name}
    lora.merge_adapters(model)
    torch.testing.assert_close(_logprobs(model).detach(), before, atol=1e-4, rtol=0)
    assert {name for name, _ in model.named_parameters()} == {name.replace(".base_layer", "") for name in names}
    assert not lora.has_adapters(model)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_learning_rate_zero_keeps_ratios_at_one(tiny_policy, tmp_path):
    trained, _ = _train(_config(tiny_policy, tmp_path, "moved"))
    path = {"path": str(trained.checkpoint.folder), "dtype": "float32"}
    _, run = _train(_config(tiny_policy, tmp_path, "still", model=path, train={"learning_rate": 0.0}))
    rows = metrics_of(run)
    assert max(row["sampler/log_ratio_abs_max"] for row in rows) < 1e-4
    assert all(row["grad_norm"] > 0 for row in rows)


@pytest.mark.parametrize("kl", [{"beta": 0.01}, {"beta": 0.01, "reference": "renewed", "params": {"every": 2}}])
def test_a_resumed_run_ends_as_an_unbroken_one_and_leaves_the_base_alone(tiny_policy, tmp_path, kl):
    weights = (tiny_policy / "model.safetensors").read_bytes()
    whole, whole_run = _train(_config(tiny_policy, tmp_path, "whole", kl=kl))
    config, done = _config(tiny_policy, tmp_path, "broken", kl=kl), []
    hooks = Hooks(should_stop=lambda: len(done) >= 2, on_step=lambda *_: done.append(None))
    first, run = _train(config, hooks=hooks)
    assert first.num_steps == 2
    resumed = train(config, run, PROBLEMS, FakeFarm(by_checksum), is_resumed=True)
    ends = [load_file(result.checkpoint.folder / "adapter_model.safetensors") for result in (whole, resumed)]
    assert ends[0].keys() == ends[1].keys()
    assert all(torch.equal(tensor, ends[1][name]) for name, tensor in ends[0].items())
    assert metrics_of(whole_run) == metrics_of(run)
    kls = [row["kl"] for row in metrics_of(run)]
    assert kls[0] < 1e-6 < kls[1]
    assert (kls[2] < 1e-6) is ("reference" in kl)  # renewed after the second step
    assert (tiny_policy / "model.safetensors").read_bytes() == weights
    assert not (whole.checkpoint.folder / "model.safetensors").exists()


def test_a_run_under_adapters_goes_on_when_its_base_has_moved(tiny_policy, tmp_path):
    whole = _config(tiny_policy, tmp_path, "whole", lora={"rank": 2}, train={"num_steps": 2})
    expected = train(whole, RunFolder.create(whole, default_name="x"), PROBLEMS, FakeFarm(by_checksum))
    first, second = tmp_path / "first", tmp_path / "second"
    shutil.copytree(tiny_policy, first)
    config = _config(first, tmp_path, "moved", lora={"rank": 2}, train={"num_steps": 1})
    run = RunFolder.create(config, default_name="x")
    train(config, run, PROBLEMS, FakeFarm(by_checksum))
    first.rename(second)
    config = _config(second, tmp_path, "moved", lora={"rank": 2}, train={"num_steps": 2})
    reopen(run.path, config, problem_digests(PROBLEMS), is_forced=False, tell=pytest.fail)
    resumed = train(config, run, PROBLEMS, FakeFarm(by_checksum), is_resumed=True)
    ends = [load_file(result.checkpoint.folder / "adapter_model.safetensors") for result in (expected, resumed)]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    kept = json.loads((resumed.checkpoint.folder / "adapter_config.json").read_text())
    assert kept["base_model_name_or_path"] == str(second)
    assert len(kept["target_modules"]) == 2 * 7  # of two layers
    assert kept["target_modules"] == sorted(kept["target_modules"])  # the same bytes in every process


def test_kl_is_measured_to_the_base_with_no_second_model(tiny_policy, tmp_path, monkeypatch):
    """The same KL as to a model of its own; and no model is loaded for it."""
    from earl.control import reference

    path = _train(_config(tiny_policy, tmp_path, "start"))[0].checkpoint.folder
    config = _config(tiny_policy, tmp_path, "next", model={"path": str(path)}, kl={"beta": 0.1})
    policy = load_trainable(str(path), config)
    expected_start = _logprobs(policy.model).detach()
    monkeypatch.setattr(reference, "load_model", None)
    measured = reference.make_reference(config, policy.model)
    for parameter in lora.adapter_parameters(policy.model).values():
        parameter.data = parameter.data + 0.3
    moved = _logprobs(policy.model).detach()
    with measured.as_model() as model, torch.no_grad():
        assert torch.equal(_logprobs(model), expected_start)  # where this training began, not the bare base
    assert torch.equal(_logprobs(policy.model).detach(), moved)
    assert all(parameter.requires_grad for parameter in lora.adapter_parameters(policy.model).values())


def test_a_warm_start_trains_adapters_and_rl_goes_on_with_them(tiny_policy, tmp_path):
    config = _config(tiny_policy, tmp_path, "warm", sft={"batch_size": 4, "learning_rate": 1e-2, "num_epochs": 4})
    examples = tuple(
        Example(example_id=str(number), prompt="and", completion=f"assign y = a & {number};") for number in range(8)
    )
    policy, folder = load_trainable(str(tiny_policy), config), tmp_path / "policy"
    (tmp_path / "sft").mkdir()
    sft(policy, SftData(train=examples, validation=()), config, tmp_path / "sft")
    rows = [json.loads(line) for line in (tmp_path / "sft" / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["loss"] < rows[0]["loss"] - 0.1
    policy.save(folder)
    assert sorted(file.name for file in folder.glob("*.safetensors")) == ["adapter_model.safetensors"]
    begun = load_file(folder / "adapter_model.safetensors")
    result, _ = _train(_config(tiny_policy, tmp_path, "rl", model={"path": str(folder)}))
    moved = load_file(result.checkpoint.folder / "adapter_model.safetensors")
    assert any(not torch.equal(tensor, moved[name]) for name, tensor in begun.items())
    told = json.loads((result.checkpoint.folder / "adapter_config.json").read_text())
    assert told["base_model_name_or_path"] == str(tiny_policy)


def test_what_a_run_was_started_with_is_an_adapters_weights_and_its_bases(tiny_policy, tmp_path):
    base = shutil.copytree(tiny_policy, tmp_path / "base")
    config = _config(base, tmp_path, "run", train={"num_steps": 1})
    folder = _train(config)[0].checkpoint.folder
    config = _config(folder, tmp_path, "next")

    def digest():
        return identity_of(config, [])["model_sha256"]

    before = digest()
    assert digest() == before
    adapter = folder / "adapter_model.safetensors"
    kept = adapter.read_bytes()
    adapter.write_bytes(kept[:-4] + bytes(4))
    moved = digest()
    adapter.write_bytes(kept)
    (base / "config.json").write_text((base / "config.json").read_text() + "\n")
    assert len({before, moved, digest()}) == 3


def test_peft_itself_reads_a_checkpoint(tiny_policy, tmp_path):
    from peft import PeftModel

    folder = _train(_config(tiny_policy, tmp_path, "run"))[0].checkpoint.folder
    ours = load_policy(str(folder), PromptConfig()).model
    base = AutoModelForCausalLM.from_pretrained(
        json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"]
    )
    theirs = PeftModel.from_pretrained(base.eval(), str(folder))
    ids = torch.tensor([[5, 9, 2, 7, 3]])
    with torch.no_grad():
        torch.testing.assert_close(ours(ids).logits, theirs(ids).logits, atol=1e-5, rtol=0)
    assert (ours(ids).logits - AutoModelForCausalLM.from_pretrained(tiny_policy)(ids).logits).abs().max() > 1e-3


def test_merge_command_writes_a_folder_of_the_same_function(tiny_policy, tmp_path):
    folder = _train(_config(tiny_policy, tmp_path, "run"))[0].checkpoint.folder
    whole = tmp_path / "whole"
    result = CliRunner().invoke(cli, ["merge", str(folder), str(whole)])
    assert result.exit_code == 0, result.output
    adapted, merged = (load_policy(str(path), PromptConfig()).model for path in (folder, whole))
    with torch.no_grad():
        torch.testing.assert_close(_logprobs(adapted), _logprobs(merged), atol=1e-4, rtol=0)
    again = CliRunner().invoke(cli, ["merge", str(whole), str(tmp_path / "more")])
    assert isinstance(again.exception, UsageError)
    assert "whole model already" in str(again.exception)


def test_without_a_rank_an_adapter_is_merged_and_everything_trains(tiny_policy, tmp_path):
    folder = _train(_config(tiny_policy, tmp_path, "run"))[0].checkpoint.folder
    full = _config(tiny_policy, tmp_path, "full", model={"path": str(folder)}, lora={"rank": 0}, kl={"beta": 0.1})
    result, run = _train(full)
    assert (result.checkpoint.folder / "model.safetensors").is_file()
    assert metrics_of(run)[0]["kl"] < 1e-6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 8, "alpha": 8.0}, "is an adapter of rank 4, alpha 8"),
        ({"rank": 4, "alpha": 8.0, "target_modules": ["q_proj"]}, "asks for rank 4"),
    ],
)
def test_another_shape_than_the_adapters_is_refused(tiny_policy, tmp_path, settings, message):
    folder = _train(_config(tiny_policy, tmp_path, "run", train={"num_steps": 1}))[0].checkpoint.folder
    config = _config(tiny_policy, tmp_path, "other", model={"path": str(folder)}, lora=settings)
    with pytest.raises(UsageError, match=message):
        load_trainable(config.model.path, config)


@pytest.mark.parametrize(
    ("targets", "message"), [(("nothing",), "lora.target_modules"), (("lm_head",), "the head take no adapter")]
)
def test_a_target_that_is_not_there_or_is_the_head_is_refused(tiny_model, targets, message):
    with pytest.raises(UsageError, match=message):
        lora.add_adapters(tiny_model, LoraParams(rank=2, target_modules=targets), base="base", seed=0)


def test_a_broken_adapter_folder_says_what_is_missing(tiny_policy, tmp_path):
    folder = _train(_config(tiny_policy, tmp_path, "run", train={"num_steps": 1}))[0].checkpoint.folder
    lost = shutil.copytree(folder, tmp_path / "lost")
    text = (lost / "adapter_config.json").read_text()
    (lost / "adapter_config.json").write_text(text.replace(str(tiny_policy), "/no/such/base"))
    with pytest.raises(UsageError, match="the base of the adapter"):
        load_policy(str(lost), PromptConfig())
    (lost / "adapter_config.json").write_text(text)
    (lost / "adapter_model.safetensors").write_bytes(b"cut")
    with pytest.raises(UsageError, match="is the copy complete"):
        load_policy(str(lost), PromptConfig())
    (lost / "adapter_model.safetensors").unlink()
    with pytest.raises(UsageError, match=r"has no adapter_model\.safetensors"):
        load_policy(str(lost), PromptConfig())


def test_a_missing_peft_is_named(monkeypatch):
    monkeypatch.setattr(lora.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'earl-rtl\[lora\]'"):
        lora.check_lora(LoraParams(rank=4))
    lora.check_lora(LoraParams())


def test_an_adapter_reads_a_projections_own_input_under_autocast(tiny_model):
    """A copy of it would be kept for the backward pass, where the pass of ours keeps none."""
    model, pairs = _adapted(tiny_model), []
    for module in (module for module in model.modules() if hasattr(module, "get_delta_weight")):
        module.register_forward_pre_hook(lambda _, inputs: pairs.append([inputs[0]]))
        module.lora_A["default"].register_forward_pre_hook(lambda _, inputs: pairs[-1].append(inputs[0]))
    token_stats(model, LAYOUTS, temperature=1.0, dtype=torch.bfloat16)
    assert len(pairs) == 14
    assert all(own.dtype == torch.bfloat16 and read is own for own, read in pairs)
