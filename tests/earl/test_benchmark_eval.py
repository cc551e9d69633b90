"""Runs of a model on a benchmark in one process: what is kept, what is drawn again, what the engine is given."""

import hashlib
import json
import os
import zlib
from dataclasses import replace

import pytest
import torch
from fake_farm import FakeFarm
from transformers import AutoModelForCausalLM, BloomConfig, Gemma2Config, MambaConfig

from earl.benchmark_eval import EvalFolder, Plan, Watcher, evaluate_benchmark
from earl.config import SamplingConfig
from earl.engine import make_engine
from earl.engine.sampling import RowRecord
from earl.journal import JournaledJudge, VerdictJournal
from earl.policy import Policy, PromptEncoder, load_eval_encoder
from earl.samplers import LocalOptions, plan_transformers
from hdl_bench.sample_journal import SampleJournal
from hdl_bench.sampler import Ask, EngineSampler, Listener, Sampled
from hdl_bench.score import Judges
from hdl_bench.scored import ScoredBenchmark
from hdl_bench.types import Chat, Completion, Sampling
from toolchain.errors import InfrastructureError, UsageError
from verifiers.connect import judge_all
from verifiers.seeds import EVAL_SEEDS
from verifiers.types import CocotbOracle, Outcome, Problem, ReferenceOracle

PROBLEMS = {
    f"p{number}": Problem(
        problem_id=f"p{number}",
        source="test",
        prompt=f"assign y = a{number}",
        top_module="TopModule",
        ports=None,
        oracle=ReferenceOracle(golden="", golden_top="TopModule"),
    )
    for number in range(7)
}
BENCHMARK = ScoredBenchmark(name="procedural", problems=PROBLEMS, prepare=lambda problem_id, text: text)
SAMPLING = Sampling(num_samples=3, max_tokens=8, temperature=1.0, seed=2)


class Farm(FakeFarm):
    def __init__(self):
        super().__init__(lambda text: (Outcome.PASSED, Outcome.MISMATCH)[zlib.crc32(text.encode()) % 2])

    def judge_all(self, jobs, progress=None):
        return judge_all(self, jobs, progress)


def local(path, **more):
    given = {"model": str(path), "template": "auto", "max_tokens": 8, "dtype": "float32", "max_rows": 6}
    return plan_transformers(LocalOptions(**given | more))


def evaluate(folder, sampler, *, farm=None, stop_after=None):
    plan = Plan(benchmark=BENCHMARK, prompts={name: p.prompt for name, p in PROBLEMS.items()}, sampling=SAMPLING)
    seen = []
    watcher = Watcher(
        on_sampling=seen.append,
        on_scoring=lambda *progress: None,
        should_stop=lambda: stop_after is not None and len(seen) >= stop_after,
    )
    return evaluate_benchmark(folder, plan, sampler, Judges(ours=farm or Farm()), watcher), seen


def test_a_stopped_run_that_goes_on_draws_what_an_unbroken_one_draws(tiny_policy, tmp_path):
    sampler = local(tiny_policy).open()
    (whole, samples), seen = evaluate(EvalFolder.create(tmp_path / "whole", {}), sampler)
    assert [standing.num_sampled for standing in seen] == [0, 6, 12, 18, 21]
    assert seen[-1].num_judged == 21
    folder = EvalFolder.create(tmp_path / "broken", {})
    assert evaluate(folder, sampler, stop_after=3)[0] is None  # told at the start, and after each of two chunks
    lines = (folder.path / "samples.jsonl").read_text().splitlines(keepends=True)
    (folder.path / "samples.jsonl").write_text("".join(lines[:-2]) + lines[-1][:20])  # and a kill within a chunk
    farm = Farm()
    (resumed, again), _ = evaluate(EvalFolder.reopen(tmp_path / "broken", {}), sampler, farm=farm)
    assert [row.sample for row in resumed.rows] == [row.sample for row in whole.rows]
    assert again.rows == samples.rows
    assert farm.num_submitted <= 21 - 10 + 2  # what was judged before the stop is not judged again
    assert len({row.sample.completion for row in whole.rows}) > 10


def test_tests_that_may_not_run_here_are_refused_before_anything_is_sampled(tmp_path):
    oracle = CocotbOracle(test_source="import cocotb", is_trusted=False)
    problem = replace(PROBLEMS["p0"], oracle=oracle)
    benchmark = ScoredBenchmark(name="cvdp", problems={"p0": problem}, prepare=lambda problem_id, text: text)
    plan = Plan(benchmark=benchmark, prompts={"p0": "x"}, sampling=SAMPLING)
    watcher = Watcher(on_sampling=print, on_scoring=print, should_stop=lambda: False)
    with pytest.raises(UsageError, match="the isolation here is rlimits"):
        evaluate_benchmark(EvalFolder.create(tmp_path / "run", {}), plan, None, Judges(ours=Farm()), watcher)


def test_a_row_holds_the_exact_prompt_and_its_hash(tmp_path):
    sent = [{"role": "user", "content": "é"}]
    journal = SampleJournal(tmp_path / "samples.jsonl", {"p": sent})
    sampled = Sampled(
        problem_id="p",
        sample_idx=0,
        text="\ud800 x",
        finish_reason="stop",
        num_prompt_tokens=3,
        num_completion_tokens=None,
        seed=1,
    )
    journal.append([sampled])
    assert journal.num_tokens is None
    journal.close()
    [row] = SampleJournal(tmp_path / "samples.jsonl", {"p": sent}).rows.values()
    assert row["prompt"] == sent
    assert row["prompt_hash"] == hashlib.sha256('[{"role":"user","content":"é"}]'.encode()).hexdigest()
    assert row["completion"] == "\ud800 x"


def test_a_journal_of_something_else_is_refused(tmp_path):
    (tmp_path / "samples.jsonl").write_text('{"completion": "x"}\n')
    with pytest.raises(UsageError, match="line 1 is no sample"):
        SampleJournal(tmp_path / "samples.jsonl", {})


def test_a_run_is_resumed_with_its_own_settings_only(tmp_path):
    EvalFolder.create(tmp_path / "run", {"model": "a", "sampling": {"n": 1}, "problems": ["p"]})
    with pytest.raises(UsageError, match=r'model: "a" -> "b"; sampling: {"n": 1} -> {"n": 2}'):
        EvalFolder.reopen(tmp_path / "run", {"model": "b", "sampling": {"n": 2}, "problems": ["p"]})
    with pytest.raises(UsageError, match="exists"):
        EvalFolder.create(tmp_path / "run", {})
    with pytest.raises(UsageError, match=r"no run\.json"):
        EvalFolder.reopen(tmp_path, {})


def test_a_verdict_that_is_kept_is_not_asked_for_again(tmp_path):
    farm, journal = Farm(), VerdictJournal(tmp_path / "verdicts.jsonl")
    judge, problem = JournaledJudge(farm, journal), PROBLEMS["p0"]
    first = judge.submit(problem, "text", EVAL_SEEDS).result()
    journal.close()
    judge = JournaledJudge(farm, VerdictJournal(tmp_path / "verdicts.jsonl"))
    assert judge.submit(problem, "text", EVAL_SEEDS).result() == first
    assert farm.num_submitted == 1
    judge.submit(problem, "text", EVAL_SEEDS[:1])
    judge.submit(problem, "other", EVAL_SEEDS)
    assert farm.num_submitted == 3


def test_verdicts_that_cannot_be_written_are_an_error_at_the_next_job(tmp_path):
    journal = VerdictJournal(tmp_path / "verdicts.jsonl")
    judge = JournaledJudge(Farm(), journal)

    def refuse(key, judgement):
        raise OSError(28, "No space left on device")

    journal.put = refuse
    judge.submit(PROBLEMS["p0"], "text", EVAL_SEEDS)
    with pytest.raises(OSError, match="No space left"):
        judge.submit(PROBLEMS["p0"], "text", EVAL_SEEDS)


def test_a_model_without_a_chat_template_is_asked_plainly(tiny_policy):
    assert not local(tiny_policy).is_chat
    with pytest.raises(UsageError, match="no chat template"):
        local(tiny_policy, template="chat")
    with pytest.raises(UsageError, match="takes 2048 tokens in all"):
        local(tiny_policy, max_tokens=2048)


CHATML = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<model>{% endif %}"
)
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + CHATML


def test_a_chat_goes_through_the_models_template(tiny_encoder):
    def rendered(template, prompt):
        tokenizer = tiny_encoder.tokenizer
        tokenizer.chat_template = template
        try:
            return PromptEncoder(tokenizer=tokenizer, template="verbatim", max_tokens=99).render(prompt)
        finally:
            tokenizer.chat_template = None

    chat = Chat(system="s", user="u")
    assert rendered(CHATML, chat) == "<system>s<user>u<model>"
    assert rendered(NO_SYSTEM, chat) == "<user>s\nu<model>"
    assert rendered(CHATML, "\nas it is") == "\nas it is"
    with pytest.raises(UsageError, match="refuses"):
        rendered("{{ raise_exception('never') }}", Chat(system="", user="u"))


def test_every_stop_token_of_the_generation_config_ends_a_completion(tiny_policy, tmp_path):
    folder = tmp_path / "policy"
    folder.mkdir()
    for path in tiny_policy.iterdir():
        folder.joinpath(path.name).write_bytes(path.read_bytes())
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, 11, 12]}))
    encoder = load_eval_encoder(str(folder), max_tokens=8)
    assert encoder.stop_token_ids == {0, 11, 12}
    record = RowRecord([1])
    record.append(5, 0.0, 0.0, encoder.stop_token_ids)
    assert not record.is_finished
    record.append(12, 0.0, 0.0, encoder.stop_token_ids)
    completion = record.to_completion(encoder, 0)
    assert (completion.finish_reason, completion.text) == ("stop", encoder.decode([5]))


SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 0}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 64}
MODELS = {  # soft-capped logits and a sliding window; positions by attention bias alone
    "gemma2": (Gemma2Config, SMALL | HEADS | {"head_dim": 8, "sliding_window": 4, "final_logit_softcapping": 0.5}),
    "bloom": (BloomConfig, SMALL | {"n_head": 4, "n_layer": 2}),
}


@pytest.mark.parametrize("name", MODELS)
def test_any_causal_model_is_sampled_with_its_own_logits(tiny_encoder, name):
    torch.manual_seed(0)
    config_class, values = MODELS[name]
    model = AutoModelForCausalLM.from_config(config_class(vocab_size=len(tiny_encoder.tokenizer), **values)).eval()
    for parameter in model.parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=0.3)
    settings = SamplingConfig(engine="hf", max_rows=4)
    engine = make_engine(Policy(model=model, encoder=tiny_encoder), settings, dtype="float32")
    groups = engine.generate(["assign y = a", "if (reset) q <= 0; else"], Sampling(max_tokens=12, seed=3))
    for [completion] in groups:
        ids = torch.tensor([[*completion.prompt_token_ids, *completion.token_ids]])
        with torch.no_grad():
            logprobs = torch.log_softmax(model(ids).logits[0].float(), dim=-1)
        start = len(completion.prompt_token_ids)
        expected = [float(logprobs[start - 1 + i, token]) for i, token in enumerate(completion.token_ids)]
        assert completion.logprobs == pytest.approx(expected, abs=1e-4)


def test_a_model_without_attention_is_refused(tiny_encoder):
    model = AutoModelForCausalLM.from_config(MambaConfig(vocab_size=300, **SMALL, state_size=4))
    with pytest.raises(UsageError, match="MambaForCausalLM has no attention"):
        make_engine(Policy(model=model, encoder=tiny_encoder), SamplingConfig(engine="hf"), dtype="float32")


def test_an_engine_is_asked_for_whole_chunks_and_gives_what_is_wanted():
    calls = []

    class Engine:
        def generate(self, prompts, sampling):
            calls.append((prompts, sampling.num_samples, sampling.seed))
            return [
                [
                    Completion(
                        prompt_token_ids=(1, 2),
                        token_ids=(3,),
                        logprobs=(),
                        entropies=(),
                        text=f"{prompt}{i}",
                        finish_reason="stop",
                    )
                    for i in range(sampling.num_samples)
                ]
                for prompt in prompts
            ]

    kept = []
    sampler = EngineSampler(Engine(), render=str, max_rows=5)
    wanted = {"a": (), "b": (), "c": (1,), "d": (), "e": (0, 1)}
    asks = [Ask(problem_id=name, prompt=name, wanted=indices) for name, indices in wanted.items()]
    sampler.sample(asks, Sampling(num_samples=2), Listener(on_answers=kept.extend))
    assert [prompts for prompts, _, _ in calls] == [["c", "d"], ["e"]]
    assert [(s.text, s.num_prompt_tokens) for s in kept] == [("c1", 0), ("e0", 2), ("e1", 0)]
    assert calls[0][2] != calls[1][2]


def test_a_full_disk_ends_the_run_with_what_was_sampled_kept(tiny_policy, tmp_path, monkeypatch):
    sampler, real = local(tiny_policy).open(), os.fsync
    calls = []

    def fsync(number):
        calls.append(number)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        real(number)

    folder = EvalFolder.create(tmp_path / "run", {})
    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(InfrastructureError, match="No space left on device; free some disk space and --resume"):
        evaluate(folder, sampler)
    assert len((folder.path / "samples.jsonl").read_text().splitlines()) >= 6
