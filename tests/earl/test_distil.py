"""Self-distillation: what is kept, what is dropped, and that a broken run samples and judges nothing twice."""

import contextlib
import itertools
import json
from concurrent.futures import Future

import pytest
from fake_farm import FakeFarm
from hypothesis import given
from hypothesis import strategies as st

import earl.cli.distil
from earl.cli import main
from earl.config import config_from_dict
from earl.distil import Source, collect, examples_of, verdict_digest, write_data_set
from earl.distil_select import Attempt, select
from earl.hooks import Hooks
from earl.run_folder import RunFolder
from earl.types import Reward
from hdl_bench.sampler import EngineSampler
from hdl_bench.types import Completion
from toolchain.errors import InfrastructureError, UsageError
from verifiers.judgement import Judgement
from verifiers.types import Candidate, Outcome, Problem, ReferenceOracle, Stage, Verdict

INVERT = "module m(input a, output y);\nassign y = ~a;\nendmodule\n"
RENAMED = "module n(input x, output z);  // the same\n  assign z = ~x;\nendmodule\n"
OTHER = "module m(input a, output y);\nassign y = a ^ 1'b1;\nendmodule\n"


def _problem(name, prompt=None):
    oracle = ReferenceOracle(golden=INVERT, golden_top="m")
    return Problem(problem_id=name, source="test", prompt=prompt or name, top_module="m", ports=None, oracle=oracle)


PROBLEMS = [_problem(f"p{number}") for number in range(5)]


def _attempt(  # noqa: PLR0913  (an attempt has as many)
    sample_idx, text, *, problem=PROBLEMS[0], outcome=Outcome.PASSED, reward=1.0, finish="stop", tokens=0
):
    verdict = Verdict(outcome=outcome, stage=Stage.COMPARE, seed=1)
    return Attempt(
        problem=problem,
        sample_idx=sample_idx,
        text=text,
        num_tokens=tokens or len(text),
        finish_reason=finish,
        sampling_seed=3,
        stimulus_seeds=(1, 2),
        judgement=Judgement(candidate=Candidate(text=text), verdict=verdict),
        reward=Reward(value=reward, parts={}) if verdict.is_scored else None,
    )


def _kept(selection):
    return [(kept.attempt.problem.problem_id, kept.attempt.sample_idx) for kept in selection.kept]


def test_the_best_pass_of_a_problem_is_kept_and_the_rest_is_counted():
    attempts = [
        _attempt(0, "module m; endmodule", outcome=Outcome.MISMATCH, reward=0.3),
        _attempt(1, RENAMED),  # longer than sample 3, of its structure: dropped as a duplicate of it
        _attempt(2, OTHER, reward=0.9),  # paid less: behind
        _attempt(3, INVERT),
        _attempt(4, INVERT, finish="length"),
        _attempt(5, "", outcome=Outcome.TOOL_ERROR),
        _attempt(0, "module m; endmodule", problem=PROBLEMS[1], outcome=Outcome.SYNTAX_ERROR, reward=0.0),
        _attempt(0, INVERT, problem=PROBLEMS[2]),  # the same design for another prompt
    ]
    selection = select(attempts, keep=1)
    assert _kept(selection) == [("p0", 3), ("p2", 0)]
    counts = (selection.num_problems, selection.num_solved, selection.num_samples, selection.num_passed)
    assert counts == (3, 2, 8, 5)
    dropped = (selection.num_unscored, selection.num_cut, selection.num_duplicates, selection.num_surplus)
    assert dropped == (1, 1, 1, 1)
    assert _kept(select(attempts, keep=2)) == [("p0", 3), ("p0", 2), ("p2", 0)]


def test_of_equal_rewards_the_shorter_then_the_first_is_kept():
    attempts = [_attempt(0, OTHER, tokens=30), _attempt(1, INVERT, tokens=20), _attempt(2, RENAMED, tokens=20)]
    assert _kept(select(attempts, keep=1)) == [("p0", 1)]
    assert _kept(select(attempts[::-1], keep=1)) == [("p0", 1)]


def test_equal_designs_for_equal_prompts_of_two_problems_are_duplicates():
    twin = _problem("twin", prompt=PROBLEMS[0].prompt)
    selection = select([_attempt(0, INVERT), _attempt(0, RENAMED, problem=twin)], keep=1)
    assert _kept(selection) == [("p0", 0)]
    assert selection.num_duplicates == 1


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2),
            st.sampled_from([INVERT, RENAMED, OTHER]),
            st.sampled_from([Outcome.PASSED, Outcome.MISMATCH, Outcome.TOOL_ERROR]),
            st.sampled_from(["stop", "length"]),
        ),
        max_size=12,
    ),
    st.integers(1, 3),
)
def test_every_pass_is_kept_or_dropped_for_one_reason(rows, keep):
    attempts = [
        _attempt(index, text, problem=PROBLEMS[number], outcome=outcome, finish=finish)
        for index, (number, text, outcome, finish) in enumerate(rows)
    ]
    selection = select(attempts, keep=keep)
    dropped = selection.num_cut + selection.num_duplicates + selection.num_surplus
    assert len(selection.kept) + dropped == selection.num_passed
    assert all(kept.attempt.is_pass and kept.attempt.finish_reason == "stop" for kept in selection.kept)
    names = [kept.attempt.problem.problem_id for kept in selection.kept]
    assert max(map(names.count, names), default=0) <= keep
    assert len({(kept.attempt.problem.prompt, kept.structure) for kept in selection.kept}) == len(names)


class _Engine:
    """Answers by prompt, seed and sample, never twice the same; counts what it was asked."""

    def __init__(self):
        self.num_sampled = 0

    def generate(self, prompts, sampling):
        self.num_sampled += len(prompts) * sampling.num_samples
        return [[self._answer(prompt, sampling, index) for index in range(sampling.num_samples)] for prompt in prompts]

    def _answer(self, prompt, sampling, index):
        text = (INVERT, OTHER, "no code")[(sampling.seed + index + len(prompt)) % 3]
        text += f"// {prompt.strip()} {sampling.seed} {index}\n"
        ids = tuple(range(len(text)))
        return Completion(
            prompt_token_ids=(1,), token_ids=ids, logprobs=ids, entropies=ids, text=text, finish_reason="stop"
        )


def _farm():
    return FakeFarm(lambda text: Outcome.PASSED if text.startswith("module") else Outcome.NO_CODE)


def _config(**sections):
    return config_from_dict({"distil": {"num_samples": 4, "keep": 2}} | sections, origin="test")


def _source(engine, problems=PROBLEMS):
    return Source(
        problems=problems,
        render=lambda prompt: f"{prompt}\n",
        open_sampler=lambda: EngineSampler(engine, render=lambda prompt: prompt, max_rows=8),
    )


def _data_set(run, attempts, config):
    return write_data_set(run, select(attempts, keep=config.distil.keep), config).read_bytes()


def _run(tmp_path, name):
    (tmp_path / name).mkdir()
    return RunFolder(tmp_path / name)


def test_a_kept_pass_is_a_row_that_can_be_traced(tmp_path):
    config, run = _config(), _run(tmp_path, "run")
    attempts = collect(_source(_Engine()), config, run.path, _farm(), Hooks())
    assert [(a.problem.problem_id, a.sample_idx) for a in attempts] == [
        (p.problem_id, i) for p in PROBLEMS for i in range(4)
    ]
    rows = [json.loads(line) for line in _data_set(run, attempts, config).decode().splitlines()]
    counts = json.loads((run.path / "distil.json").read_text())
    assert counts["num_kept"] == len(rows) == len(examples_of(select(attempts, keep=2)))
    assert counts["num_samples"] == 20
    by_key = {(a.problem.problem_id, a.sample_idx): a for a in attempts}
    for row in rows:
        attempt = by_key[row["problem_id"], row["sample_idx"]]
        assert (row["prompt"], row["completion"]) == (attempt.problem.prompt, attempt.text)
        assert row["verdict_sha256"] == verdict_digest(attempt.judgement.verdict)
        assert row["reward"] == 1.0
        assert len(set(row["stimulus_seeds"])) == 2
        assert row["sampling_seed"] == attempt.sampling_seed


def test_the_digest_of_a_verdict_is_of_all_but_its_duration():
    first, slower, other = (
        Verdict(outcome=Outcome.PASSED, stage=Stage.COMPARE, seed=seed, duration_s=duration)
        for seed, duration in ((1, 0.1), (1, 0.2), (2, 0.1))
    )
    assert verdict_digest(first) == verdict_digest(slower) != verdict_digest(other)


class _Killed(Exception):
    pass


@pytest.mark.parametrize("num_chunks", [1, 2, 3])
@pytest.mark.parametrize("is_asked", [True, False])
def test_a_broken_run_goes_on_to_the_same_data_set_and_samples_and_judges_nothing_twice(tmp_path, num_chunks, is_asked):
    config, whole, broken = _config(), _run(tmp_path, "whole"), _run(tmp_path, "broken")
    expected = _data_set(whole, collect(_source(_Engine()), config, whole.path, _farm(), Hooks()), config)
    engine, farm, chunks = _Engine(), _farm(), []

    def on_step(done, total, metrics):
        chunks.append(done)
        if not is_asked and len(chunks) == num_chunks:
            raise _Killed

    hooks = Hooks(should_stop=lambda: is_asked and len(chunks) >= num_chunks, on_step=on_step)
    if is_asked:
        assert collect(_source(engine), config, broken.path, farm, hooks) is None or num_chunks == 3
    else:
        with pytest.raises(_Killed):
            collect(_source(engine), config, broken.path, farm, hooks)
    with (broken.path / "samples.jsonl").open("a") as file:
        file.write('{"problem_id": "p4", "sample_i')  # what a kill in mid-write leaves
    attempts = collect(_source(engine), config, broken.path, farm, Hooks())
    assert _data_set(broken, attempts, config) == expected
    assert engine.num_sampled == 20
    assert farm.num_submitted == 20


def test_a_finished_run_opens_no_model_again(tmp_path):
    config, run = _config(), _run(tmp_path, "run")
    first = collect(_source(_Engine()), config, run.path, _farm(), Hooks())

    def no_model():
        raise AssertionError("everything is there")

    again = Source(problems=PROBLEMS, render=lambda prompt: f"{prompt}\n", open_sampler=no_model)
    farm = _farm()
    assert collect(again, config, run.path, farm, Hooks()) == first
    assert farm.num_submitted == 0


def test_tool_errors_are_judged_again_and_never_kept(tmp_path):
    config, run = _config(), _run(tmp_path, "run")
    broken = FakeFarm(lambda text: Outcome.TOOL_ERROR)
    attempts = collect(_source(_Engine()), config, run.path, broken, Hooks())
    with pytest.raises(InfrastructureError, match="none of 20 completions could be judged"):
        write_data_set(run, select(attempts, keep=1), config)
    farm = _farm()
    assert any(a.is_pass for a in collect(_source(_Engine()), config, run.path, farm, Hooks()))
    assert farm.num_submitted == 20


class _SilentFarm(FakeFarm):
    """Takes everything and never answers."""

    def submit(self, problem, completion_text, seeds):
        return Future()


def test_a_request_to_stop_is_heard_while_a_verdict_is_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("earl.farm_wait._TICK_S", 0.001)
    asked = itertools.count()
    hooks = Hooks(should_stop=lambda: next(asked) > 20)
    assert collect(_source(_Engine()), _config(), _run(tmp_path, "run").path, _SilentFarm(None), hooks) is None


def test_samples_of_other_prompts_are_refused(tmp_path):
    config, run = _config(), _run(tmp_path, "run")
    collect(_source(_Engine()), config, run.path, _farm(), Hooks())
    changed = [*PROBLEMS[1:], _problem("p0", prompt="another task")]
    with pytest.raises(UsageError, match="samples of p0, whose prompt is another one now"):
        collect(_source(_Engine(), changed), config, run.path, _farm(), Hooks())
    with pytest.raises(UsageError, match="same problem_id"):
        collect(_source(_Engine(), [*PROBLEMS, PROBLEMS[0]]), config, run.path, _farm(), Hooks())


def _command(tiny_policy, tmp_path, monkeypatch, farm, *arguments):
    config = tmp_path / "config.toml"
    config.write_text(
        f"""
        [run]
        dir = "{tmp_path}"
        name = "run"
        [model]
        path = "{tiny_policy}"
        dtype = "float32"
        [problems]
        families = ["bitwise"]
        levels = [1]
        num_problems = 3
        [sampling]
        max_tokens = 4
        [distil]
        num_samples = 2
        """
    )
    monkeypatch.setattr(earl.cli.distil, "open_farm", lambda settings: contextlib.nullcontext(farm))
    with pytest.raises(SystemExit) as exit_info:
        main(["distil", str(config), *arguments])
    return exit_info.value.code


def test_nothing_kept_is_a_clear_error(tiny_policy, tmp_path, monkeypatch, capsys):
    farm = FakeFarm(lambda text: Outcome.SYNTAX_ERROR)
    assert _command(tiny_policy, tmp_path, monkeypatch, farm) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "solved 0 of 3 problems; passed 0 of 6 samples" in told
    assert "earl: nothing to learn from: of 6 completions of 3 problems 0 passed" in told
    assert not (tmp_path / "run" / "dataset.jsonl").exists()
