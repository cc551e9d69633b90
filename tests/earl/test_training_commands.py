"""`earl sft`, `train` and `distil` with one config, and the self-tests: on a small policy that is made here.

The policy has learnt five answers to one prompt, one of which is right: it passes now and then, as a warm start does.
"""

import contextlib
import json
from pathlib import Path

import pytest
import torch
from fake_farm import FakeFarm
from rich.console import Console
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

import earl.cli.distil
import earl.cli.train
from earl.cli import main
from earl.config import load_config
from earl.jobs import Session
from earl.overfit import TARGET, overfit_config, run_overfit
from earl.run_folder import RunFolder
from hdl_bench.problem_files import read_problems
from verifiers.types import Outcome

HEAD, TAIL = "module m(input a, input b, output y); assign y = ", "; endmodule"
EXPRESSIONS = ("a ^ b", "a & b", "a | b", "~(a & b)", "~(a | b)")
RIGHT = f"{HEAD}{EXPRESSIONS[0]}{TAIL}"
PRESET = Path(__file__).parents[2] / "configs" / "earl.toml"


def _outcome(text: str) -> Outcome:
    if text == RIGHT:
        return Outcome.PASSED
    is_whole = text.startswith(HEAD) and text.endswith(TAIL)
    return Outcome.MISMATCH if is_whole else Outcome.SYNTAX_ERROR


def _earl(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_info:
        main(arguments)
    return exit_info.value.code


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tiny_encoder, one_thread) -> Path:
    """A folder with `config.toml`, which is the EARL preset but for paths and sizes, and the warm policy in `warm`."""
    root = tmp_path_factory.mktemp("commands")
    size = len(tiny_encoder.tokenizer)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=size,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(str(root / "model"))
    tiny_encoder.tokenizer.save_pretrained(str(root / "model"))
    problem = {"problem_id": "xor", "prompt": "xor", "golden": RIGHT}
    (root / "problems.jsonl").write_text(json.dumps(problem) + "\n")
    rows = [{"prompt": "xor", "completion": f"{HEAD}{expression}{TAIL}"} for expression in EXPRESSIONS]
    (root / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (root / "config.toml").write_text(
        f"""
        extends = "{PRESET}"
        [run]
        dir = "{root}"
        num_threads = 1  # as the fixture one_thread, which sets back what the commands set
        [model]
        path = "{root / "model"}"
        dtype = "float32"
        [problems]
        files = ["{root / "problems.jsonl"}"]
        families = ["counter"]  # whose held-out designs the files are kept apart from
        levels = [1]
        [sampling]
        max_tokens = 48
        [sft]
        num_epochs = 70
        learning_rate = 1e-2
        num_validation = 0
        [train]
        num_problems = 1
        group_size = 64
        checkpoint_every = 0
        [distil]
        num_samples = 64
        [eval]
        num_problems = 2
        """
    )
    answers = f"sft.files=['{root / 'answers.jsonl'}']"
    assert _earl("sft", str(root / "config.toml"), "run.name=warm", answers) == 0
    return root


@pytest.fixture
def farm(monkeypatch) -> FakeFarm:
    farm = FakeFarm(_outcome)
    for command in (earl.cli.train, earl.cli.distil):
        monkeypatch.setattr(command, "open_farm", lambda settings: contextlib.nullcontext(farm))
    return farm


def _arguments(folder: Path, name: str, *more: str) -> tuple[str, ...]:
    return str(folder / "config.toml"), f"model.path={folder / 'warm' / 'policy'}", f"run.name={name}", *more


def _rows(run: Path):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def _rates(run: Path) -> list[float]:
    return [row["pass_rate"] for row in _rows(run)]


def test_overfit_one_drives_a_policy_that_passes_now_and_then_to_pass(folder, farm, capsys):
    rate = "train.learning_rate=1e-4"  # the tiny model needs more than a preset's
    assert _earl("train", *_arguments(folder, "one", rate), "--overfit-one") == 0
    rates = _rates(folder / "one")
    assert rates[0] < 0.4
    assert rates[-1] >= TARGET
    told = capsys.readouterr().err
    assert f"xor: at best {rates[-1]:.0%} of a step passed, in {len(rates)} steps" in told
    settings = load_config(folder / "one" / "config.toml")
    assert (settings.train.learning_rate, settings.train.num_steps) == (pytest.approx(1e-4), 60)
    assert (settings.sampling.temperature, settings.gate.params["fraction"]) == (0.7, 0.2)


def test_overfit_one_says_that_nothing_can_be_learnt_where_no_reward_differs(folder, monkeypatch, capsys):
    farm = FakeFarm(lambda text: Outcome.SYNTAX_ERROR)
    monkeypatch.setattr(earl.cli.train, "open_farm", lambda settings: contextlib.nullcontext(farm))
    assert _earl("train", *_arguments(folder, "hopeless"), "--overfit-one") == 1
    assert "nothing to learn: all completions" in capsys.readouterr().err
    assert not (folder / "hopeless" / "metrics.jsonl").exists()


def test_overfit_one_that_does_not_get_there_is_an_error_exit(folder, farm, capsys):
    arguments = ("train.learning_rate=0", "train.num_steps=2", "sampling.temperature=1.0")
    assert _earl("train", *_arguments(folder, "short", *arguments), "--overfit-one") == 1
    assert "of a step passed, in 2 steps" in capsys.readouterr().err
    settings = load_config(folder / "short" / "config.toml")
    assert (settings.train.learning_rate, settings.sampling.temperature) == (0.0, 1.0)


def test_overfit_one_takes_the_problem_whose_rewards_differ_and_keeps_to_it(folder, tmp_path):
    """Of three problems one is never passed, one always; a resumed run samples none of them to choose again."""
    golden = {"golden": RIGHT, "top_module": "m"}
    rows = [{"problem_id": name, "prompt": prompt, **golden} for name, prompt in (("a", "&"), ("b", "xor"), ("c", "|"))]
    (tmp_path / "three.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    class Farm(FakeFarm):
        def submit(self, problem, text, seeds):
            fixed = {"a": Outcome.SYNTAX_ERROR, "c": Outcome.PASSED}.get(problem.problem_id)
            return FakeFarm(lambda text: fixed or _outcome(text)).submit(problem, text, seeds)

    overrides = (f"model.path={folder / 'warm' / 'policy'}", f"run.dir={tmp_path}", "train.num_steps=1")
    config = overfit_config(load_config(folder / "config.toml", overrides), overrides)
    run = RunFolder.create(config, default_name="x")
    session = Session(console=Console(quiet=True), should_stop=lambda: False)
    problems = read_problems(tmp_path / "three.jsonl")
    assert run_overfit(config, run, problems, Farm(_outcome), session).problem_id == "b"

    class NoFarm(Farm):
        def judge_all(self, jobs):
            raise AssertionError("the choice was made")

    assert run_overfit(config, run, problems, NoFarm(_outcome), session, is_resumed=True).problem_id == "b"


@pytest.mark.parametrize("control", ["none", "random", "shuffled"])
def test_only_rewards_that_hold_information_teach(folder, farm, control):
    more = (f"reward.control={control}", "train.num_steps=8", "train.learning_rate=1e-4", "sampling.temperature=0.7")
    assert _earl("train", *_arguments(folder, control, *more)) == 0
    rates = _rates(folder / control)
    assert (max(rates) > 0.5) == (control == "none")
    before = load_file(folder / "warm" / "policy" / "model.safetensors")
    after = load_file(folder / control / "checkpoints" / "step_000008" / "model.safetensors")
    assert any(not torch.equal(before[name], tensor) for name, tensor in after.items())


def test_learning_rate_zero_is_flat(folder, farm):
    assert _earl("train", *_arguments(folder, "still", "train.learning_rate=0", "train.num_steps=2")) == 0
    for row in _rows(folder / "still"):
        assert row["sampler/log_ratio_abs_max"] < 1e-4
        assert row["pass_rate"] < 0.4


def test_warm_start_training_and_distillation_are_three_commands(folder, farm, capsys):
    config = str(folder / "config.toml")
    assert _earl("train", *_arguments(folder, "rl", "train.num_steps=2", "train.learning_rate=1e-4")) == 0
    policy = f"model.path={folder / 'rl' / 'checkpoints' / 'step_000002'}"
    chosen = ("sampling.temperature=0.7", "sft.learning_rate=1e-3", "sft.num_epochs=30")
    assert _earl("distil", config, policy, "run.name=distil", *chosen) == 0
    told = " ".join(capsys.readouterr().err.split())
    counts = json.loads((folder / "distil" / "distil.json").read_text())
    assert f"solved 1 of 1 problems; passed {counts['num_passed']} of 64 samples" in told
    assert f"kept 1 passes; dropped {counts['num_passed'] - 1} duplicates" in told
    [row] = [json.loads(line) for line in (folder / "distil" / "dataset.jsonl").read_text().splitlines()]
    assert (row["prompt"], row["completion"]) == ("xor", RIGHT)

    again = f"model.path={folder / 'distil' / 'policy'}"
    assert _earl("distil", config, again, "run.name=again", *chosen, "--data-only") == 0
    assert not (folder / "again" / "policy").exists()
    better = json.loads((folder / "again" / "distil.json").read_text())
    assert counts["num_passed"] < 32 < 48 < better["num_passed"]

    # Its own data set is a file of examples for `earl sft`.
    own = f"sft.files=['{folder / 'distil' / 'dataset.jsonl'}']"
    assert _earl("sft", config, policy, own, "run.name=own", *chosen) == 0
    ends = [load_file(folder / name / "policy" / "model.safetensors") for name in ("own", "distil")]
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_a_distillation_killed_in_its_training_goes_on_to_the_same_policy(folder, farm, monkeypatch):
    more = ("sampling.temperature=0.7", "sft.num_epochs=6", "sft.checkpoint_every=2")
    assert _earl("distil", *_arguments(folder, "unbroken", *more)) == 0
    num_judged = farm.num_submitted

    class Killed(BaseException):
        pass

    def killed(*arguments, **options):
        if arguments[1] == 4:
            raise Killed
        return save(*arguments, **options)

    save = earl.checkpoint.save
    arguments = ("distil", *_arguments(folder, "broken", *more))
    monkeypatch.setattr(earl.checkpoint, "save", killed)
    with pytest.raises(Killed):
        main(arguments)
    monkeypatch.setattr(earl.checkpoint, "save", save)
    assert _earl(*arguments, "--resume", str(folder / "broken")) == 0
    assert farm.num_submitted == 2 * num_judged
    ends = [(folder / name / "policy" / "model.safetensors").read_bytes() for name in ("unbroken", "broken")]
    assert ends[0] == ends[1]
    assert len(_rows(folder / "broken")) == 6
