"""`earl plan`: counts by hand, sizes against real models, every inconsistency at once, all presets."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from tiny import build_tiny_model
from transformers import Qwen3Config, Qwen3ForCausalLM

from earl import lora
from earl.cli import cli
from earl.config import config_from_dict
from earl.plan import checks, duration
from earl.plan.disk import estimate_disk
from earl.plan.document import make_plan
from earl.plan.memory import Memory, estimate_memory
from earl.plan.model_shape import read_shape
from earl.plan.work import count_work
from earl.policy import load_encoder, load_policy
from toolchain.errors import ToolNotFound

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.toml"))


@pytest.fixture(autouse=True)
def quick_products(monkeypatch):
    """A machine of 100 GFLOP/s, so that no test measures one."""
    monkeypatch.setattr(duration, "gemm_flops", lambda *shape_and_dtype: 1e11)


@pytest.fixture
def write(tmp_path, tiny_policy):
    def write_config(text="", path=tiny_policy):
        file = tmp_path / "c.toml"
        file.write_text(f'[run]\ndir = "{tmp_path / "runs"}"\n[model]\npath = "{path}"\n{text}')
        return file

    return write_config


def _config(tiny_policy, **sections):
    return config_from_dict({"model": {"path": str(tiny_policy), "dtype": "float32"}} | sections, origin="test")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_preset_can_be_planned(path, monkeypatch, tiny_policy):
    """With the tiny model in the place of each preset's own: its prompts and settings are what is checked."""
    monkeypatch.setattr(checks, "_asked", None)
    plan = make_plan(path, (f"model.path={tiny_policy}", "prompt.max_tokens=1700"))
    assert plan["ok"], plan["errors"]
    assert plan["memory"]["peak_bytes"] > 0 < plan["time"]["run_s"]
    assert plan["work"]["num_completions"] == 64


def test_counts_by_hand(tiny_policy):
    """3 prompts of at most 10 tokens x 4 samples of 6: a group is 10 + 4 x 5 = 30 positions, two fit into 64."""
    train = {"num_problems": 3, "group_size": 4, "num_steps": 5, "micro_batch_tokens": 64}
    config = _config(tiny_policy, train=train, sampling={"max_tokens": 6}, sft={"num_examples": 33, "batch_size": 8})
    work = count_work(config, [10, 4, 7, 3, 6, 6])
    assert (work.num_completions, work.num_updates, work.num_micro_batches) == (12, 1, 2)
    assert (work.sampled_tokens, work.trained_positions, work.largest_micro_batch) == (72, 90, 60)
    assert (work.mean_prompt_tokens, work.num_epochs, work.sft_steps) == (6.0, 2.5, 5)


def test_a_group_that_no_micro_batch_holds_is_one_alone(tiny_policy):
    config = _config(tiny_policy, train={"group_size": 4, "micro_batch_tokens": 20}, sampling={"max_tokens": 6})
    work = count_work(config, [10] * 8)
    assert (work.largest_micro_batch, work.num_micro_batches) == (30, 8)
    (finding,) = checks.check_work(config, work)
    assert "up to 30 positions and train.micro_batch_tokens is 20" in finding.message


@pytest.mark.parametrize("targets", [["all-linear"], ["q_proj", "down_proj"]])
def test_parameters_are_those_of_the_model_and_of_its_adapters(tiny_policy, targets):
    config = _config(tiny_policy, lora={"rank": 3, "target_modules": targets})
    shape = read_shape(config)
    model = load_policy(str(tiny_policy), config.prompt).model
    assert shape.num_parameters == sum(parameter.numel() for parameter in model.parameters())
    lora.add_adapters(model, config.lora, base="base", seed=0)
    assert shape.num_adapter == sum(parameter.numel() for parameter in lora.adapter_parameters(model).values())
    assert shape.num_trainable == shape.num_adapter
    assert (shape.num_layers, shape.hidden, shape.head_dim, shape.context_length) == (2, 32, 8, 2048)


def test_memory_by_hand(tiny_policy):
    """The tiny model in float32: 25,024 parameters; each layer keeps 2 x 4 H + 4 (2 heads + 2 kv) D + 8 I + 4 heads."""
    train = {"num_problems": 2, "group_size": 2, "micro_batch_tokens": 64}
    config = _config(tiny_policy, train=train, sampling={"max_tokens": 11}, kl={"beta": 0.1})
    shape, work = read_shape(config), count_work(config, [10, 10])
    num = sum(parameter.numel() for parameter in build_tiny_model(300).parameters())
    memory = estimate_memory(config, shape, work, program_bytes=1000)
    assert (memory.masters, memory.gradients, memory.optimizer, memory.reference) == (
        4 * num,
        4 * num,
        8 * num,
        4 * num,
    )
    assert work.largest_micro_batch == 60
    of_layer = 2 * 4 * 32 + 4 * (2 * 4 + 2 * 2) * 8 + 4 * 2 * 64 + 4 * 4
    assert memory.activations == 60 * 2 * of_layer
    assert memory.holes == round(0.45 * memory.activations + 0.4 * 4 * num)
    # Keys and values, two layers, two heads of 8: two prompts of 10 and four rows of 11, in blocks of 32.
    assert memory.kv_cache == 2 * 4 * 2 * 2 * 8 * (2 * 32 + 4 * 32)
    assert memory.peak == max(memory.sampling, memory.training)
    assert memory.judges == 2 * 82_000_000
    assert memory.always == 1000 + 16 * num + memory.judges


def _memory(tiny_policy, **sections) -> Memory:
    config = _config(tiny_policy, **sections)
    return estimate_memory(config, read_shape(config), count_work(config, [20] * 8), program_bytes=0)


def test_adapters_checkpointing_and_8_bit_states_are_taken_into_account(tiny_policy):
    plain = _memory(tiny_policy, kl={"beta": 0.1})
    adapted = _memory(tiny_policy, kl={"beta": 0.1}, lora={"rank": 2})
    assert adapted.reference == 0 < plain.reference
    assert adapted.optimizer < 0.2 * plain.optimizer
    assert adapted.gradients < 0.2 * plain.gradients
    assert adapted.masters > plain.masters
    again = _memory(tiny_policy, train={"gradient_checkpointing": "layers"})
    assert 0.5 * plain.activations < again.activations < plain.activations  # one of two layers is kept whole
    small = _memory(tiny_policy, optimizer={"name": "adamw_8bit"})
    assert small.optimizer == pytest.approx(plain.optimizer * 2 / 8, rel=0.02)


def test_disk_counts_the_checkpoint_being_written_and_what_is_in_each(tiny_policy, tmp_path):
    train = {"num_steps": 40, "checkpoint_every": 10, "keep_checkpoints": 2}
    run = {"dir": str(tmp_path / "not" / "there")}
    config = _config(tiny_policy, train=train, run=run)
    shape = read_shape(config)
    disk = estimate_disk(config, shape)
    assert (disk.num_checkpoints, disk.checkpoint) == (3, 12 * shape.num_parameters)
    moving = _config(tiny_policy, train=train, run=run, kl={"beta": 0.1, "reference": "ema"})
    assert estimate_disk(moving, shape).checkpoint == 16 * shape.num_parameters
    adapted = _config(tiny_policy, train=train, run=run, lora={"rank": 2})
    assert estimate_disk(adapted, read_shape(adapted)).checkpoint == 12 * read_shape(adapted).num_adapter


WRONG = """
[prompt]
max_tokens = 2000
[sampling]
max_tokens = 100
temperature = 2.5
[train]
num_steps = 10
warmup_steps = 50
num_minibatches = 3
learnin_rate = 1
[gate]
name = "entropi"
[loss]
name = "pp_clip"
[optimizer]
schedule = "cosin"
[reward.overlong]
buffer = 200
[problems]
num_problems = 4
[kl]
where = "gated"
[verifier]
address = "http://127.0.0.1:1"
"""
EXPECTED_ERRORS = (
    "unknown key train.learnin_rate; did you mean learning_rate?",
    "train.num_minibatches must divide train.num_problems; got 3 and 8",
    "unknown gate 'entropi'",
    "unknown loss.name 'pp_clip'",
    "unknown optimizer.schedule 'cosin'",
    "train.warmup_steps = 50 is longer than the run of train.num_steps = 10",
    "prompt.max_tokens + sampling.max_tokens = 2100 positions",
    "reward.overlong.buffer = 200 must be under sampling.max_tokens = 100",
    "a step takes train.num_problems = 8 problems and the set has 4",
    "verifier.address = http://127.0.0.1:1 does not answer",
)
EXPECTED_WARNINGS = (
    "sampling.temperature = 2.5 is outside",
    "trained at sampling.temperature = 2.5 and measured at eval.temperature = 1.0",
    "kl.where without effect: kl.beta = 0",
)


def test_everything_that_is_wrong_is_said_at_once_and_the_exit_code_is_2(write):
    result = CliRunner().invoke(cli, ["plan", str(write(WRONG)), "--json"])
    assert result.exit_code == 2
    plan = json.loads(result.stdout)
    assert plan["ok"] is False
    for expected, found in ((EXPECTED_ERRORS, plan["errors"]), (EXPECTED_WARNINGS, plan["warnings"])):
        for message in expected:
            assert any(message in line for line in found), (message, found)
    assert len(plan["errors"]) == len(EXPECTED_ERRORS)
    assert plan["work"]["num_problems"] == 4  # what can be counted is counted
    assert plan["memory"] is None


def test_a_good_plan_is_a_table_and_exit_code_0_and_overrides_count(write):
    file = str(write("[prompt]\nmax_tokens = 1800\n"))
    result = CliRunner().invoke(cli, ["plan", file, "train.group_size=5", "train.num_steps=12"])
    assert result.exit_code == 0, result.output
    assert "8 prompts x 5 samples" in result.stdout
    assert "nothing is wrong" in result.stdout
    assert not (Path(file).parent / "runs").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[sampling]\nengine = "decode"', 'sampling.engine = "decode" cannot run this model: architecture qwen3'),
        ('[lora]\nrank = 2\ntarget_modules = ["c_attn"]', "no projection is called c_attn; there are down_proj"),
        ('[lora]\nrank = 2\n[kl]\nbeta = 0.1\nreference = "ema"', 'kl.reference = "ema" has no meaning for adapters'),
        ("[prompt]\nmax_tokens = 100", "prompts are longer than prompt.max_tokens = 100"),
        ('[verifier]\ntoken_file = "/no/such/file"', "cannot read the token file"),
        ('[problems]\nfiles = ["/no/such.jsonl"]', "/no/such.jsonl"),
    ],
)
def test_what_does_not_fit_the_model_or_the_machine_is_an_error(write, tiny_policy, tmp_path, text, message):
    model = tmp_path / "qwen3"
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    Qwen3ForCausalLM(Qwen3Config(vocab_size=300, head_dim=8, **sizes)).save_pretrained(model)
    for file in tiny_policy.glob("*token*"):
        (model / file.name).write_bytes(file.read_bytes())
    plan = make_plan(write(text, path=model))
    assert any(message in line for line in plan["errors"]), plan["errors"]


def test_an_unknown_model_and_a_missing_simulator_are_errors(write, monkeypatch):
    def missing(name):
        raise ToolNotFound(f"{name} is not installed; apt-get install iverilog")

    monkeypatch.setattr(checks, "find_tool", missing)
    plan = make_plan(write(path="/no/such/model"))
    assert any("no model at /no/such/model" in line for line in plan["errors"])
    assert "iverilog is not installed; apt-get install iverilog" in plan["errors"]
    assert plan["model"] is plan["memory"] is None


def test_more_memory_or_disk_than_there_is_are_errors_and_more_than_is_free_a_warning(write, monkeypatch):
    file = write("[prompt]\nmax_tokens = 1800\n")
    for machine, kind in (((10**6, 10**6), "errors"), ((10**15, 10**6), "warnings")):
        monkeypatch.setattr(checks, "memory_bytes", lambda machine=machine: machine)
        assert any("GB of memory" in line for line in make_plan(file)[kind])
    monkeypatch.setattr("earl.plan.disk.free_disk_bytes", lambda folder: 10)
    assert any("of disk are free" in line for line in make_plan(file)["errors"])


def test_the_last_run_of_the_same_model_gives_the_time_and_another_does_not(write, tmp_path, tiny_policy):
    file = write("[prompt]\nmax_tokens = 1800\n")
    run = tmp_path / "runs" / "train-001"
    run.mkdir(parents=True)
    rates = {"perf/sampled_tokens_per_s": 100.0, "perf/judge_s": 2.0, "perf/train_s": 8.0}
    row = {"step": 1, "num_tokens": 640.0, "completions/mean_length": 50.0, **rates}
    (run / "metrics.jsonl").write_text(json.dumps(row) + "\n" + '{"step": 2, "num_to')  # a run that is being written
    (run / "config.toml").write_text('[model]\npath = "another"\n')
    before = make_plan(file)["time"]
    assert "matrix products" in before["source"]
    assert before["assumed"][0] == "products are 84% of sampling and 75% of training (SmolLM2-135M)"
    (run / "config.toml").write_text(f'[model]\npath = "{tiny_policy}"\n')
    time = make_plan(file)["time"]
    assert str(run) in time["source"]
    assert time["assumed"] == ("completions as long as then", "the machine as busy as then")
    # 64 completions of 50 tokens are 3,200: 32 s at 100 a second, and 5 times the judging and training of 640.
    assert (time["sample_s"], time["judge_s"], time["train_s"]) == pytest.approx((32.0, 10.0, 40.0))
    assert time["run_s"] == pytest.approx(82.0 * 20)


def test_no_weights_are_read(write, monkeypatch, tiny_policy, tmp_path):
    """A folder whose weights are nonsense can be planned."""
    model = tmp_path / "hollow"
    model.mkdir()
    for source in tiny_policy.iterdir():
        (model / source.name).write_bytes(b"none" if source.suffix == ".safetensors" else source.read_bytes())
    assert make_plan(write("[prompt]\nmax_tokens = 1800\n", path=model))["ok"]


def test_an_alias_is_planned_without_being_converted(tmp_path, monkeypatch):
    pytest.importorskip("gguf")
    monkeypatch.setenv("EARL_CACHE", str(tmp_path))
    config = config_from_dict({}, origin="test")
    shape = read_shape(config)
    assert (shape.num_parameters, shape.num_layers, shape.context_length) == (134_515_008, 30, 8192)
    encoder = load_encoder(config.model.path, config.prompt)
    assert encoder.decode(encoder.encode_prompt("assign y = a;")) == "assign y = a;\n\n"
    assert list(tmp_path.iterdir()) == []
