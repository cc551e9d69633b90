"""Supervised training: packs change nothing, only completions count, it repeats itself and resumes bit-exactly."""

import dataclasses
import itertools
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import build_tiny_model

from earl import checkpoint, ops
from earl.config import Config, PromptConfig, config_from_dict
from earl.forward import Sequences, lay_out
from earl.guard import TrainingDiverged
from earl.hooks import Hooks
from earl.metrics import is_of_machine
from earl.packing import pack
from earl.policy import Policy, load_policy
from earl.resume_check import identity_of, keep_identity, reopen
from earl.run_folder import RunFolder
from earl.sft import accumulate_gradients, sft, validation_metrics
from earl.sft_data import Example, SftData, sft_data
from earl.sft_loss import make_sft_loss
from earl.sft_schedule import learning_rate_at, plan_batches
from hdl_bench.problem_files import write_problems
from hdl_bench.procedural.problems import make_problems
from toolchain.errors import UsageError

pytestmark = pytest.mark.usefixtures("one_thread")

SFT = {"batch_size": 4, "learning_rate": 3e-3, "num_epochs": 2, "warmup_fraction": 0.2}
CONFIG = config_from_dict({"model": {"dtype": "float32"}, "sft": SFT}, origin="test")


def _config(**sft_values) -> Config:
    return config_from_dict({"model": {"dtype": "float32"}, "sft": SFT | sft_values}, origin="test")


@pytest.fixture(scope="module")
def data() -> SftData:
    """Short ones: byte-level tokens make a real problem long."""
    examples = [
        Example(example_id=str(number), prompt=f"and{number % 7}", completion=f"assign y = a & {number};")
        for number in range(24)
    ]
    return SftData(train=tuple(examples[:20]), validation=tuple(examples[20:]))


def _policy(encoder):
    return Policy(model=build_tiny_model(len(encoder.tokenizer)), encoder=encoder)


def _rows(folder: Path):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if not is_of_machine(key)} for row in rows]


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_the_loss_falls_also_on_examples_held_out_and_repeats_with_the_seed(tiny_encoder, data, tmp_path):
    runs = []
    for name in ("a", "b"):
        result = sft(_policy(tiny_encoder), data, CONFIG, _folder(tmp_path / name))
        assert result.num_steps == result.num_planned == 10
        runs.append(_rows(tmp_path / name))
    assert runs[0] == runs[1]
    assert runs[0][-1]["loss"] < runs[0][0]["loss"] - 0.5
    assert [row["epoch"] for row in runs[0]] == [pytest.approx(0.2 * step) for step in range(1, 11)]
    [measured] = [row for row in runs[0] if "validation/loss" in row]
    assert measured["step"] == 10
    assert measured["validation/loss"] == result.validation_loss < runs[0][0]["loss"] - 0.5


class _Killed(Exception):
    pass


@pytest.mark.parametrize("kill_after", [3, 4, 8])
@pytest.mark.parametrize("is_asked", [True, False])
def test_a_broken_run_resumes_to_the_same_bytes(tiny_encoder, data, tmp_path, kill_after, is_asked):
    config = _config(checkpoint_every=2)
    whole, folder = _policy(tiny_encoder), _folder(tmp_path / "whole")
    sft(whole, data, config, folder)
    broken, steps = _folder(tmp_path / "broken"), []

    def on_step(step, num_steps, metrics):
        steps.append(step)
        if not is_asked and step == kill_after + 1:  # after the line of metrics, before any checkpoint of its step
            raise _Killed

    hooks = Hooks(should_stop=lambda: is_asked and len(steps) == kill_after, on_step=on_step)
    if is_asked:
        assert sft(_policy(tiny_encoder), data, config, broken, hooks=hooks).num_steps == kill_after
    else:
        with pytest.raises(_Killed):
            sft(_policy(tiny_encoder), data, config, broken, hooks=hooks)
    saved = checkpoint.newest(broken / "checkpoints")
    resumed = load_policy(str(saved.folder), PromptConfig())
    sft(resumed, data, config, broken, resumed=saved)
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
    assert _rows(broken) == _rows(folder)
    assert sum("validation/loss" in row for row in _rows(folder)) == 5


def test_a_run_is_not_resumed_with_other_examples(data, tiny_policy, tmp_path):
    config = Config.model_validate({"run": {"dir": str(tmp_path)}, "model": {"path": str(tiny_policy)}})
    run = RunFolder.create(config, default_name="sft")
    keep_identity(run, identity_of(config, data.digests))
    assert reopen(run.path, config, data.digests, is_forced=False, tell=pytest.fail).path == run.path
    fewer = dataclasses.replace(data, train=data.train[1:])
    with pytest.raises(UsageError, match=r"problems: 1 removed \(0\)"):
        reopen(run.path, config, fewer.digests, is_forced=False, tell=pytest.fail)
    told = []
    reopen(run.path, config, fewer.digests, is_forced=True, tell=told.append)
    assert told == ["resumed with a change: problems: 1 removed (0)"]
    reopen(run.path, config, fewer.digests, is_forced=False, tell=pytest.fail)  # it is what the run has now


def _layouts(num_examples=7):
    generator = torch.Generator().manual_seed(1)

    def ids(low, high):
        size = int(torch.randint(low, high, (1,), generator=generator))
        return tuple(torch.randint(1, 300, (size,), generator=generator).tolist())

    return [lay_out(Sequences(prompt=ids(2, 20), responses=(ids(1, 30),))) for _ in range(num_examples)]


def _gradients(model, packs, config):
    model.zero_grad(set_to_none=True)
    metrics = accumulate_gradients(model, packs, make_sft_loss(config.sft.loss), config)
    return metrics, {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@pytest.mark.parametrize("implementation", ["compiled", "reference"])
@pytest.mark.parametrize(
    "loss",
    [
        {"name": "cross_entropy"},
        {"name": "light_if", "params": {"fraction": 0.4}},
        {"name": "entropy_bonus", "params": {"coefficient": 0.3}},
    ],
)
def test_packs_give_the_loss_and_gradient_of_single_examples(tiny_model, implementation, loss):
    config, layouts = _config(loss=loss), _layouts()
    cuts = [
        [layouts],
        [[layout] for layout in layouts],
        [[layouts[index] for index in chosen] for chosen in pack([x.token_ids_S.numel() for x in layouts], 60)],
    ]
    assert 1 < len(cuts[2]) < 7
    ops.select(implementation)
    try:
        results = [_gradients(tiny_model, cut, config) for cut in cuts]
    finally:
        ops.select("compiled")
    for metrics, gradients in results[1:]:
        assert metrics == pytest.approx(results[0][0], rel=1e-5)
        for name, gradient in gradients.items():
            torch.testing.assert_close(gradient, results[0][1][name], rtol=1e-4, atol=1e-5, msg=name)


def test_the_loss_and_gradient_are_those_of_transformers_with_the_prompt_masked(tiny_model):
    layouts = _layouts()
    model = tiny_model.double()
    ops.select("reference")
    try:
        metrics, gradients = _gradients(model, [layouts], CONFIG)
    finally:
        ops.select("compiled")
    model.zero_grad(set_to_none=True)
    num_tokens, total = sum(layout.targets.numel() for layout in layouts), 0.0
    for layout in layouts:
        completion = layout.targets
        token_ids = torch.cat([layout.token_ids_S, completion[-1:]])
        labels = torch.cat([torch.full((layout.prompt_length,), -100), completion])
        output = model(input_ids=token_ids[None], labels=labels[None], use_cache=False)
        loss = output.loss * completion.numel() / num_tokens
        loss.backward()
        total += float(loss.detach())
    assert metrics["loss"] == metrics["cross_entropy"] == pytest.approx(total, rel=1e-6)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-5, atol=1e-8, msg=name)


def test_validation_loss_is_the_mean_over_tokens_however_it_is_packed(tiny_model):
    layouts = _layouts()
    whole = validation_metrics(tiny_model, layouts, CONFIG)
    assert whole == pytest.approx(validation_metrics(tiny_model, layouts, _config(pack_tokens=40)), rel=1e-6)
    trained = accumulate_gradients(tiny_model, [layouts], make_sft_loss(CONFIG.sft.loss), CONFIG)
    assert whole["validation/loss"] == pytest.approx(trained["cross_entropy"], rel=1e-6)


def test_packs_by_hand():
    assert pack([5, 3, 6, 2, 4], 10) == [[2, 4], [0, 1, 3]]
    assert pack([12, 1, 9], 10) == [[0], [1, 2]]
    assert pack([], 10) == []


@given(st.lists(st.integers(1, 40), max_size=40), st.integers(1, 50))
def test_packs_hold_everything_once_within_the_budget(lengths, budget):
    packs = pack(lengths, budget)
    assert sorted(index for chosen in packs for index in chosen) == list(range(len(lengths)))
    for chosen in packs:
        assert sum(lengths[index] for index in chosen) <= budget or len(chosen) == 1
        assert chosen == sorted(chosen)


def test_batches_hold_every_example_once_an_epoch_in_an_order_of_its_own():
    batches = plan_batches(21, CONFIG)
    epochs = [[index for batch in part for index in batch] for part in (batches[:6], batches[6:])]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(21))
    assert epochs[0] != epochs[1]
    assert batches == plan_batches(21, CONFIG)
    other = config_from_dict({"run": {"seed": 1}, "sft": SFT}, origin="test")
    assert batches != plan_batches(21, other)


def test_learning_rate_warms_up_and_runs_out():
    rates = [learning_rate_at(step, 10, CONFIG) / 3e-3 for step in range(1, 11)]
    assert rates[:3] == pytest.approx([0.5, 1.0, 8 / 9])
    assert rates[-1] == pytest.approx(1 / 9)
    cosine, constant = _config(schedule="cosine"), _config(schedule="constant")
    rates = [learning_rate_at(step, 10, cosine) / 3e-3 for step in (1, 2, 5, 10)]
    assert rates == pytest.approx([0.5, 1.0, 0.75, 0.0301536896], rel=1e-6)  # (1 - cos(pi * 6/9)) / 2 = 0.75
    assert [learning_rate_at(step, 10, constant) / 3e-3 for step in (1, 2, 10)] == pytest.approx([0.5, 1.0, 1.0])


def test_examples_longer_than_a_pack_are_left_out_and_told(tiny_encoder, data, tmp_path):
    told = []
    long = Example(example_id="long", prompt="p", completion="assign " * 200)
    result = sft(
        _policy(tiny_encoder),
        SftData(train=(*data.train[:4], long), validation=()),
        _config(pack_tokens=100, num_epochs=1),
        tmp_path,
        hooks=Hooks(warn=told.append),
    )
    assert result.num_steps == 1
    assert told == ["left out 1 of 5 examples: longer than sft.pack_tokens = 100"]
    with pytest.raises(UsageError, match=r"no example fits into sft\.pack_tokens = 8"):
        sft(_policy(tiny_encoder), data, _config(pack_tokens=8), tmp_path)


def _break_updates(monkeypatch, broken, fault):
    """The updates of a run whose number, from 1, is in `broken` have a loss, or a gradient alone, that is NaN."""
    numbers = itertools.count(1)

    def spoilt(model, *arguments):
        totals = accumulate_gradients(model, *arguments)
        if next(numbers) in broken:
            if fault == "loss":
                totals["loss"] = float("nan")
            model.model.norm.weight.grad[0] = float("nan")
        return totals

    monkeypatch.setattr("earl.sft.accumulate_gradients", spoilt)


@pytest.mark.parametrize("fault", ["loss", "gradient"])
@pytest.mark.parametrize("number", [2, 10])  # the last one too: what is saved then is the policy
def test_an_update_that_is_no_finite_number_is_left_out_and_kept(
    tiny_encoder, data, tmp_path, monkeypatch, fault, number
):
    _break_updates(monkeypatch, {number}, fault)
    policy, told, weights = _policy(tiny_encoder), [], {}

    def on_step(step, num_steps, metrics):
        weights[step] = policy.model.lm_head.weight.clone()

    result = sft(policy, data, CONFIG, tmp_path, hooks=Hooks(warn=told.append, on_step=on_step))
    assert result.num_steps == 10
    assert torch.equal(weights[number - 1], weights[number])
    assert not torch.equal(weights[1], weights[9])
    assert all(tensor.isfinite().all() for tensor in policy.model.state_dict().values())
    rows = _rows(tmp_path)
    assert [row["update/skipped"] for row in rows] == [float(step == number) for step in range(1, 11)]
    assert ["loss" in row for row in rows] == [step != number for step in range(1, 11)]
    folder = tmp_path / "skipped" / f"step_{number:06d}_update_1"
    (warning,) = told
    assert warning.endswith(f"the update is skipped, its batch is in {folder}")
    kept = [json.loads(line) for line in (folder / "examples.jsonl").read_text().splitlines()]
    expected = [data.train[index] for index in plan_batches(20, CONFIG)[number - 1]]
    assert kept == [dataclasses.asdict(example) for example in expected]


def test_three_of_them_in_a_row_stop_the_run_with_the_last_good_weights(tiny_encoder, data, tmp_path, monkeypatch):
    _break_updates(monkeypatch, {2, 3, 5, 6, 7}, "loss")
    policy = _policy(tiny_encoder)
    with pytest.raises(TrainingDiverged, match=r"at last step 7: loss nan.* lower sft\.learning_rate, and resume"):
        sft(policy, data, CONFIG, tmp_path)
    saved = checkpoint.newest(tmp_path / "checkpoints")
    assert saved.step == 7
    resumed = load_policy(str(saved.folder), PromptConfig())
    assert torch.equal(resumed.model.lm_head.weight, policy.model.lm_head.weight)
    assert sft(resumed, data, CONFIG, tmp_path, resumed=saved).num_steps == 10  # the faults are over
    assert [row["step"] for row in _rows(tmp_path)] == list(range(1, 11))


def _write(path: Path, *rows) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def _own(tmp_path, *rows, **sft_values) -> Config:
    file = _write(tmp_path / "rows.jsonl", *rows)
    return config_from_dict(
        {"eval": {"num_problems": 4}, "problems": {"families": ["bitwise"], "levels": [1]}}
        | {"sft": {"files": [file]} | sft_values},
        origin="test",
    )


def test_rows_of_prompt_and_completion_are_learnt_exactly_as_they_are(tmp_path):
    chat = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "An inverter."}]
    rows = [
        {"prompt": "An inverter.", "completion": "<think>easy</think>\n```verilog\nmodule m; endmodule\n```\n"},
        {"prompt": chat, "completion": [{"role": "assistant", "content": "module n; endmodule"}], "id": "two"},
        {"prompt": "p", "golden": "module o; endmodule", "oracle": "ignored"},
    ]
    data = sft_data(_own(tmp_path, *rows))
    assert data.validation == ()
    assert [(e.example_id, e.prompt, e.completion) for e in data.train] == [
        ("rows-0", "An inverter.", rows[0]["completion"]),
        ("two", "Be brief.\n\nAn inverter.", "module n; endmodule"),
        ("rows-2", "p", "module o; endmodule"),
    ]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "p"}, "rows.jsonl: an example needs 'prompt' and one of completion, solution, golden; got prompt"),
        ({"completion": "c"}, "an example needs 'prompt'"),
        ({"prompt": "p", "completion": " \n"}, "the key 'completion' must be a text or chat messages, got ' "),
        ({"prompt": [{"role": "user"}], "completion": "c"}, "the key 'prompt' must be a text or chat messages"),
        (["p", "c"], "an example must be an object"),
    ],
)
def test_a_row_that_is_no_example_is_named(tmp_path, row, message):
    with pytest.raises(UsageError, match=r"rows\.jsonl") as caught:
        sft_data(_own(tmp_path, row, {"prompt": "p", "completion": "c"}))
    assert message in str(caught.value) or message.replace("rows.jsonl", "rows.jsonl: line 1") in str(caught.value)


def test_own_rows_are_drawn_by_seed_and_a_tenth_of_them_is_held_out(tmp_path):
    rows = [{"prompt": f"Task {number}.", "completion": f"answer {number}"} for number in range(50)]
    told = []
    data = sft_data(_own(tmp_path, *rows, num_examples=40), told.append)
    assert told == ["40 of 50 examples are used; raise sft.num_examples for more"]
    assert (len(data.train), len(data.validation)) == (36, 4)
    assert not {e.prompt for e in data.train} & {e.prompt for e in data.validation}
    assert data == sft_data(_own(tmp_path, *rows, num_examples=40))
    assert len(sft_data(_own(tmp_path, *rows, num_validation=2)).validation) == 2


def test_own_rows_that_overlap_a_protected_benchmark_never_train(tmp_path):
    [problem] = make_problems(families=["counter"], levels=(1,), split="train", num_problems=1, seed=3)
    write_problems(tmp_path / "bench.jsonl", [problem])
    copied = f"Sure:\n```verilog\n{problem.oracle.golden.replace('TopModule', 'Copy')}\n```"
    rows = [{"prompt": "Something else.", "completion": copied}, {"prompt": "An inverter.", "completion": "c"}]
    told = []
    config = _own(tmp_path, *rows)
    exclude = (f"procedural:{tmp_path / 'bench.jsonl'}",)
    config = config.model_copy(update={"problems": config.problems.model_copy(update={"exclude": exclude})})
    data = sft_data(config, told.append)
    assert [example.prompt for example in data.train] == ["An inverter."]
    assert told[0].startswith("left out 1 of 2 examples as too close to protected ones: 1 (procedural, golden_equal")


def test_procedural_examples_are_goldens_and_the_held_out_ones_are_measured():
    config = config_from_dict(
        {
            "problems": {"families": ["bitwise"], "levels": [1]},
            "eval": {"num_problems": 4},
            "sft": {"num_examples": 6, "num_validation": 3},
        },
        origin="test",
    )
    data = sft_data(config)
    held_out = make_problems(families=["bitwise"], levels=(1,), split="heldout", num_problems=4, seed=7_001)
    assert len(data.train) == 6
    assert [e.completion for e in data.validation] == [p.oracle.golden.strip("\n") for p in held_out[:3]]
    assert not {e.completion for e in data.train} & {e.completion for e in data.validation}
