"""One side of `train_step.py`, in a process of its own so that its peak memory is its own: ours, or TRL's GRPOTrainer.

Both sample the same prompts as often and as long, judge with the same farm under the same seeds, and make one update of
the same fp32 weights. Run by `train_step.py`: python train_step_sides.py ours|trl SETTINGS_AS_JSON
"""

import dataclasses
import hashlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from earl.config import Config, load_config
from earl.model_source import resolve_model
from earl.policy import PromptEncoder, load_encoder, load_policy
from earl.reward import reward_of
from hdl_bench.procedural.problems import make_problems
from verifiers.farm import Farm
from verifiers.seeds import group_seed
from verifiers.types import Problem

if TYPE_CHECKING:
    from trl import GRPOConfig

_PROMPT_TOKENS = (130, 170)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """The work of a step, equal on both sides, and how each side cuts it."""

    config: str
    dtype: str  # of autocast; masters are fp32
    num_problems: int
    group_size: int
    max_tokens: int
    is_natural: bool  # completions end at the stop token; else it is suppressed and all are `max_tokens` long
    num_threads: int
    trl_micro_batch: int  # sequences
    seed: int = 0

    def load(self) -> Config:
        values = {
            "model.dtype": self.dtype,
            "sampling.max_tokens": self.max_tokens,
            "train.num_problems": self.num_problems,
            "train.group_size": self.group_size,
        }
        overrides = tuple(f"{key}={json.dumps(value)}" for key, value in values.items())
        return load_config(Path(self.config), overrides)


class EndlessEncoder(PromptEncoder):
    """No token stops a completion."""

    @property
    def stop_token_ids(self) -> frozenset[int]:
        return frozenset()


def step_problems(encoder: PromptEncoder, num_problems: int) -> list[Problem]:
    """Training problems with prompts of about 150 tokens, of as many families as there are."""
    low, high = _PROMPT_TOKENS
    drawn = make_problems(families=None, levels=(1, 2), split="train", num_problems=60 * num_problems, seed=0)
    fitting = [problem for problem in drawn if low <= len(encoder.encode_prompt(problem.prompt)) <= high]
    assert len(fitting) >= num_problems, (len(fitting), num_problems)
    return fitting[:num_problems]


def with_variance(reward: float, text: str) -> float:
    """The reward plus a number from the text: an untrained policy gets 0 throughout, and groups without variance train
    nothing here and all the same in TRL."""
    return reward + int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:4], "big") / 2**32


def run_ours(settings: Settings, farm: Farm) -> dict[str, float]:
    from earl.engine import make_engine
    from earl.journal import VerdictJournal
    from earl.problem_stream import ProblemStream
    from earl.rollout import RolloutJudge
    from earl.rollout_source import OwnRollouts, Sampler
    from earl.step import Learner, train_step
    from earl.types import Reward

    config = settings.load()
    policy = load_policy(config.model.path, config.prompt)
    problems = step_problems(policy.encoder, settings.num_problems)
    if not settings.is_natural:
        fields = {field.name: getattr(policy.encoder, field.name) for field in dataclasses.fields(PromptEncoder)}
        policy = dataclasses.replace(policy, encoder=EndlessEncoder(**fields))
    journal = VerdictJournal(Path(os.devnull))

    class JudgeWithVariance(RolloutJudge):
        def __call__(self, *arguments):
            def changed(rollout):
                value = with_variance(rollout.reward.value, rollout.completion.text)
                return dataclasses.replace(rollout, reward=Reward(value=value, parts={}))

            return [[r if r.reward is None else changed(r) for r in group] for group in super().__call__(*arguments)]

    engine = make_engine(policy, config.sampling, dtype=config.model.dtype)
    sampler = Sampler(engine, JudgeWithVariance(farm, journal, config.reward, config.run.seed), config)
    source = ProblemStream(problems=tuple(problems), batch_size=len(problems), seed=settings.seed)
    learner = Learner(
        config=config,
        policy=policy,
        reference=None,
        optimizer=torch.optim.AdamW(policy.model.parameters(), lr=config.train.learning_rate, fused=True),
        rollouts=OwnRollouts(sampler, source, config),
    )
    started, cpu_started = time.perf_counter(), _cpu_s()
    result = train_step(learner, 1)
    step_s, cpu_s = time.perf_counter() - started, _cpu_s() - cpu_started
    assert result.batch is not None
    assert result.gate_N is not None
    metrics = result.metrics
    return {
        "step_s": step_s,
        "sample_s": metrics["perf/sample_s"],
        "judge_s": metrics["perf/judge_s"],
        "train_s": metrics["perf/train_s"],
        "cpu_s": cpu_s,
        "tokens_sampled": sum(len(r.completion.token_ids) for group in result.rollouts for r in group),
        "tokens_trained": int(result.gate_N.sum()),
        "tokens_in_loss": result.batch.num_tokens,
        "verdicts": sum(map(len, result.rollouts)),
        "prompt_tokens": sum(len(group[0].completion.prompt_token_ids) for group in result.rollouts),
        "num_parameters": sum(p.numel() for p in policy.model.parameters()),
        "loss": metrics["loss"],
    }


def run_trl(settings: Settings, farm: Farm) -> dict[str, float]:
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, TrainerCallback
    from trl import GRPOTrainer

    config = settings.load()
    encoder = load_encoder(config.model.path, config.prompt)
    problems = step_problems(encoder, settings.num_problems)
    model = AutoModelForCausalLM.from_pretrained(resolve_model(config.model.path), dtype=torch.float32)
    spent = {"sample_s": 0.0, "judge_s": 0.0}
    work = {"tokens_sampled": 0, "verdicts": 0}

    def judged(prompts, completions, index, **_ignored):
        started = time.perf_counter()
        seeds = [group_seed(config.run.seed, problems[i].problem_id, 0) for i in index]
        jobs = [(problems[i], text, (seed,)) for i, text, seed in zip(index, completions, seeds, strict=True)]
        verdicts = [judgement.verdict for judgement in farm.judge_all(jobs)]
        spent["judge_s"] += time.perf_counter() - started
        work["verdicts"] += len(verdicts)
        return [
            with_variance(reward_of(verdict, config.reward).value, text) if verdict.is_scored else None
            for verdict, text in zip(verdicts, completions, strict=True)
        ]

    class Clock(TrainerCallback):
        def on_step_begin(self, *_args, **_kwargs):
            self.started, self.cpu_started = time.perf_counter(), _cpu_s()

        def on_step_end(self, *_args, **_kwargs):
            self.step_s, self.cpu_s = time.perf_counter() - self.started, _cpu_s() - self.cpu_started

    clock = Clock()
    trainer = GRPOTrainer(
        model=model,
        processing_class=encoder.tokenizer,
        reward_funcs=judged,
        train_dataset=Dataset.from_list(
            [{"prompt": problem.prompt.strip("\n") + "\n\n", "index": i} for i, problem in enumerate(problems)]
        ),
        args=_trl_settings(settings, config),
        callbacks=[clock],
    )
    _time_sampling(trainer, spent, work)
    masked = _count_entropy_masks(trainer)
    trainer.train()
    return {
        "step_s": clock.step_s,
        **spent,
        "train_s": clock.step_s - sum(spent.values()),
        "cpu_s": clock.cpu_s,
        **work,
        "tokens_trained": masked() or work["tokens_sampled"],
        "tokens_in_loss": work["tokens_sampled"],
        "num_parameters": sum(p.numel() for p in model.parameters()),
    }


def _trl_settings(settings: Settings, config: Config) -> "GRPOConfig":
    """TRL's config of the same step: all rows in one generation batch."""
    from trl import GRPOConfig

    num_rows = settings.num_problems * settings.group_size
    return GRPOConfig(
        output_dir=str(Path(os.environ.get("TMPDIR", "/tmp")) / "earl-bench-trl"),
        use_cpu=True,
        bf16=settings.dtype == "bfloat16",
        per_device_train_batch_size=settings.trl_micro_batch,
        gradient_accumulation_steps=num_rows // settings.trl_micro_batch,  # one generation batch of all rows
        num_generations=settings.group_size,
        max_completion_length=settings.max_tokens,
        generation_kwargs={} if settings.is_natural else {"min_new_tokens": settings.max_tokens},
        temperature=config.sampling.temperature,
        learning_rate=config.train.learning_rate,
        lr_scheduler_type="constant",
        beta=0.0,
        epsilon=config.loss.clip_low,
        epsilon_high=config.loss.clip_high,
        loss_type="dapo",
        top_entropy_quantile=float(config.gate.params.get("fraction", 1.0)),
        gradient_checkpointing=False,
        max_steps=1,
        shuffle_dataset=False,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
        seed=settings.seed,
    )


def _time_sampling(trainer: object, spent: dict[str, float], work: dict[str, int]) -> None:
    """Let TRL's sampling add its time and tokens."""
    generate = trainer._generate_single_turn

    def timed_generate(prompt_ids, *rest):
        started = time.perf_counter()
        completion_ids, logprobs = generate(prompt_ids, *rest)
        spent["sample_s"] += time.perf_counter() - started
        work["tokens_sampled"] += sum(map(len, completion_ids))
        work["prompt_tokens"] = sum(map(len, prompt_ids))
        return completion_ids, logprobs

    trainer._generate_single_turn = timed_generate


def _count_entropy_masks(trainer: object) -> Callable[[], int]:
    """How many tokens TRL's entropy mask let through so far (0: it has none)."""
    count = [0]
    mask_of = trainer.get_high_entropy_mask

    def counted(*arguments, **keywords):
        mask = mask_of(*arguments, **keywords)
        count[0] += int(mask.sum())
        return mask

    trainer.get_high_entropy_mask = counted
    return lambda: count[0]


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    side, settings = sys.argv[1], Settings(**json.loads(sys.argv[2]))
    torch.set_num_threads(settings.num_threads)
    torch.manual_seed(settings.seed)
    with Farm(num_workers=2) as farm:
        result = {"ours": run_ours, "trl": run_trl}[side](settings, farm)
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    result["peak_bytes"] = peak_bytes
    result["peak_less_state_bytes"] = peak_bytes - 16 * result["num_parameters"]
    print("RESULT " + json.dumps(result))


if __name__ == "__main__":
    main()
