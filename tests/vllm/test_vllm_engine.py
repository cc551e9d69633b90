"""vLLM for real, on a small model: run by `make test-vllm`, in an environment of its own."""

import os
import zlib

import pytest

pytest.importorskip("vllm", reason="vLLM has an environment of its own: make test-vllm")

from earl.benchmark_eval import EvalFolder, Plan, Watcher, evaluate_benchmark
from earl.policy import load_eval_encoder
from earl.samplers import LocalOptions, plan_vllm
from hdl_bench.score import Judges
from hdl_bench.scored import ScoredBenchmark
from hdl_bench.types import Chat, Sampling
from toolchain.errors import UsageError
from verifiers.connect import judge_all
from verifiers.types import Outcome, Problem, ReferenceOracle

MODEL = os.environ.get("EARL_TEST_MODEL", "")
CHAT = Chat(system="You are helpful.", user="Name three colours.")


@pytest.fixture(scope="session")
def sampler():
    """SmolLM2-135M-Instruct under vLLM, opened as the command opens it."""
    assert MODEL, "EARL_TEST_MODEL names the model's folder; make test-vllm sets it"
    plan = plan_vllm(LocalOptions(model=MODEL, template="auto", max_tokens=48, dtype="bfloat16", max_rows=6))
    assert plan.is_chat
    return plan.open()


@pytest.fixture(scope="session")
def engine(sampler):
    return sampler._engine


def test_greedy_answers_are_those_of_transformers(engine):
    import torch
    from transformers import AutoModelForCausalLM

    prompts = [CHAT, "The capital of France is"]
    groups = engine.generate(prompts, Sampling(max_tokens=16, temperature=0.0, top_p=0.01))
    encoder = load_eval_encoder(MODEL, max_tokens=48)
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.bfloat16)
    for prompt, [completion] in zip(prompts, groups, strict=True):
        ids = encoder.encode_prompt(prompt)
        assert list(completion.prompt_token_ids) == ids
        with torch.no_grad():
            logits = model(torch.tensor([[*ids, *completion.token_ids]])).logits[0, len(ids) - 1 : -1].float()
        best = logits.max(dim=-1).values
        taken = logits.gather(1, torch.tensor(completion.token_ids)[:, None])[:, 0]
        assert float((best - taken).max()) < 0.5  # bf16 may turn near ties
        assert completion.text == encoder.decode([t for t in completion.token_ids if t not in encoder.stop_token_ids])


def test_equal_seeds_give_equal_samples_and_samples_differ(engine):
    def draw(seed):
        [group] = engine.generate(
            [CHAT], Sampling(num_samples=4, max_tokens=24, temperature=1.0, top_p=0.95, seed=seed)
        )
        return [completion.token_ids for completion in group]

    first = draw(1)
    assert draw(1) == first
    assert draw(2) != first
    assert len(set(first)) > 1


def test_a_completion_ends_with_a_stop_token_or_is_marked(engine):
    [group] = engine.generate([CHAT], Sampling(num_samples=8, max_tokens=40, temperature=1.0))
    stops = load_eval_encoder(MODEL, max_tokens=48).stop_token_ids
    for completion in group:
        assert (completion.token_ids[-1] in stops) == (completion.finish_reason == "stop")
        assert completion.finish_reason == "stop" or len(completion.token_ids) == 40
        assert "<|im_end|>" not in completion.text


def test_it_does_not_follow_a_policy_in_training(engine):
    with pytest.raises(UsageError, match="cannot follow a policy"):
        engine.update_weights(1)


class ChecksumFarm:
    """A judge without simulators."""

    isolation = "rlimits"

    def submit(self, problem, text, seeds):
        from concurrent.futures import Future

        from verifiers.judgement import Judgement
        from verifiers.types import Stage, Verdict

        outcome = (Outcome.PASSED, Outcome.MISMATCH)[zlib.crc32(text.encode()) % 2]
        future = Future()
        verdict = Verdict(outcome=outcome, stage=Stage.COMPARE, seed=seeds[0])
        future.set_result(Judgement(candidate=None, verdict=verdict))
        return future

    def judge_all(self, jobs, progress=None):
        return judge_all(self, jobs, progress)


def test_a_benchmark_is_sampled_and_goes_on_after_a_stop(sampler, tmp_path):
    oracle = ReferenceOracle(golden="", golden_top="TopModule")
    problems = {
        name: Problem(problem_id=name, source="t", prompt=name, top_module="TopModule", ports=None, oracle=oracle)
        for name in ("one", "two", "three")
    }
    benchmark = ScoredBenchmark(name="procedural", problems=problems, prepare=lambda problem_id, text: text)
    prompts = {name: Chat(system="", user=f"Count to {name}.") for name in problems}
    plan = Plan(benchmark=benchmark, prompts=prompts, sampling=Sampling(num_samples=3, max_tokens=12, seed=3))

    def evaluate(folder, stop_after):
        seen = []
        watcher = Watcher(
            on_sampling=seen.append,
            on_scoring=lambda *progress: None,
            should_stop=lambda: len(seen) >= stop_after,
        )
        return evaluate_benchmark(folder, plan, sampler, Judges(ours=ChecksumFarm()), watcher)

    whole, samples = evaluate(EvalFolder.create(tmp_path / "whole", {}), 9)
    assert evaluate(EvalFolder.create(tmp_path / "broken", {}), 1) is None
    _, again = evaluate(EvalFolder.reopen(tmp_path / "broken", {}), 9)
    assert len(whole.rows) == 9
    assert again.rows == samples.rows
