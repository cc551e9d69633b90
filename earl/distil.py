"""Rejection-sampled self-distillation: a model is sampled on problems, and learns from what passed (RAFT, 2304.06767).

Here are the sampling, the judging and the data set. The run folder keeps each sample (`samples.jsonl`) and each verdict
(`verdicts.jsonl`) as soon as it is there, so that a run that was killed samples and judges nothing twice. Which passes
are kept says `earl.distil_select`.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earl.config import Config
from earl.distil_select import Attempt, Kept, Selection
from earl.farm_wait import Patience
from earl.hooks import Hooks, StepInterrupted
from earl.journal import JournaledJudge, VerdictJournal
from earl.reward import overlong_penalty, reward_of
from earl.run_folder import RunFolder
from earl.sft_data import Example
from earl.types import Reward
from hdl_bench.prompts import prompt_sha256
from hdl_bench.sample_journal import Key, SampleJournal
from hdl_bench.sampler import Ask, Listener, Sampled, Sampler
from hdl_bench.types import Sampling
from toolchain.errors import InfrastructureError, UsageError
from verifiers.connect import Judge
from verifiers.judgement import VERDICT, Judgement
from verifiers.seeds import group_seed
from verifiers.types import Problem, Verdict

DATA_SET, COUNTS = "dataset.jsonl", "distil.json"
_NUM_SEEDS = 2  # of stimulus that a pass has to hold under
_DEADLINE_S = 600.0  # for the next verdict; the farm's own limits per job are far shorter


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """The problems, how each prompt is sent, and what opens the model: only when samples are missing."""

    problems: Sequence[Problem]
    render: Callable[[str], str]
    open_sampler: Callable[[], Sampler]


def collect(source: Source, config: Config, folder: Path, farm: Judge, hooks: Hooks) -> list[Attempt] | None:
    """All attempts, problem by problem; None when it was stopped before all were sampled and judged.

    `hooks.on_step` hears of samples: how many there are of how many, and `num_judged` and `num_passed` of them.

    Raises:
        UsageError: a problem_id is given twice, or the folder's samples are of other prompts.
        DeadlineExceeded: the farm does not answer.
    """
    sent = {problem.problem_id: source.render(problem.prompt) for problem in source.problems}
    if len(sent) < len(source.problems):
        raise UsageError("two problems have the same problem_id; give each problem its own")
    samples = SampleJournal(folder / "samples.jsonl", sent)
    verdicts = VerdictJournal(folder / "verdicts.jsonl")
    try:
        _refuse_other_prompts(samples, sent, folder)
        judge = JournaledJudge(farm, verdicts)
        work = _Work(source.problems, samples, judge, config, Patience(hooks=hooks))
        work.judge(list(samples.rows))
        asks = work.asks()
        if any(ask.wanted for ask in asks):
            hooks.on_step(len(samples.rows), work.num_samples, work.counts())

            def take(answers: Sequence[Sampled]) -> None:
                work.take(answers)
                hooks.on_step(len(samples.rows), work.num_samples, work.counts())

            listener = Listener(on_answers=take, should_stop=hooks.should_stop)
            source.open_sampler().sample(asks, _sampling(config), listener)
        if len(samples.rows) < work.num_samples or not work.wait():
            return None
        hooks.on_step(len(samples.rows), work.num_samples, work.counts())
        return work.attempts()
    finally:
        samples.close()
        verdicts.close()


def _sampling(config: Config) -> Sampling:
    return Sampling(
        num_samples=config.distil.num_samples,
        max_tokens=config.sampling.max_tokens,
        temperature=config.sampling.temperature,
        seed=config.run.seed,
    )


def _refuse_other_prompts(samples: SampleJournal, sent: dict[str, str], folder: Path) -> None:
    for (problem_id, _), row in samples.rows.items():
        if problem_id not in sent or row["prompt_hash"] != prompt_sha256(sent[problem_id]):
            raise UsageError(
                f"{folder} holds samples of {problem_id}, whose prompt is another one now; start a new run"
            )


class _Work:
    """The samples of a run and their verdicts, those that are there and those under way."""

    def __init__(
        self,
        problems: Sequence[Problem],
        samples: SampleJournal,
        farm: JournaledJudge,
        config: Config,
        patience: Patience,
    ) -> None:
        self._problems = {problem.problem_id: problem for problem in problems}
        self._samples, self._farm, self._config, self._patience = samples, farm, config, patience
        self._waiting: dict[Key, Future[Judgement]] = {}
        self._judged: dict[Key, Judgement] = {}

    @property
    def num_samples(self) -> int:
        """Of the whole run."""
        return len(self._problems) * self._config.distil.num_samples

    def asks(self) -> list[Ask]:
        """All problems, each with the samples that are still missing."""
        indices = range(self._config.distil.num_samples)
        return [
            Ask(
                problem_id=name,
                prompt=problem.prompt,
                wanted=tuple(index for index in indices if (name, index) not in self._samples.rows),
            )
            for name, problem in self._problems.items()
        ]

    def take(self, answers: Sequence[Sampled]) -> None:
        """Keep samples, and send them to the farm."""
        self._samples.append(answers)
        self.judge([(answer.problem_id, answer.sample_idx) for answer in answers])
        for key in [key for key, future in self._waiting.items() if future.done()]:
            self._finish(key)

    def judge(self, keys: Sequence[Key]) -> None:
        """Send samples to the farm; nothing is waited for."""
        for key in keys:
            problem, text = self._problems[key[0]], str(self._samples.rows[key]["completion"])
            self._waiting[key] = self._farm.submit(problem, text, self._seeds(problem))

    def wait(self) -> bool:
        """Wait for all verdicts; False when it was stopped before."""
        try:
            for key in list(self._waiting):
                self._finish(key)
        except StepInterrupted:
            return False
        return True

    def counts(self) -> dict[str, float]:
        """Samples judged so far, and those of them that passed."""
        passed = sum(judgement.verdict.passed for judgement in self._judged.values())
        return {"num_judged": float(len(self._judged)), "num_passed": float(passed)}

    def attempts(self) -> list[Attempt]:
        """All samples with their verdicts, in the order of problems and samples."""
        indices = range(self._config.distil.num_samples)
        return [self._attempt((name, index)) for name in self._problems for index in indices]

    def _attempt(self, key: Key) -> Attempt:
        row, problem, judgement = self._samples.rows[key], self._problems[key[0]], self._judged[key]
        num_tokens = row["num_completion_tokens"]
        return Attempt(
            problem=problem,
            sample_idx=key[1],
            text=row["completion"],
            num_tokens=num_tokens,
            finish_reason=row["finish_reason"],
            sampling_seed=row["seed"],
            stimulus_seeds=self._seeds(problem),
            judgement=judgement,
            reward=self._reward(judgement.verdict, num_tokens),
        )

    def _reward(self, verdict: Verdict, num_tokens: int) -> Reward | None:
        if not verdict.is_scored:
            return None
        reward = reward_of(verdict, self._config.reward)
        penalty = overlong_penalty(num_tokens, self._config.sampling.max_tokens, self._config.reward.overlong)
        return Reward(value=reward.value - penalty, parts=reward.parts | {"overlong": -penalty})

    def _finish(self, key: Key) -> None:
        future = self._waiting.pop(key)
        self._judged[key] = self._patience.result(future, f"the verdict on {key[0]}", deadline_s=_DEADLINE_S)

    def _seeds(self, problem: Problem) -> tuple[int, ...]:
        """One set for all samples of a problem, as in training."""
        return tuple(group_seed(self._config.run.seed, problem.problem_id, epoch) for epoch in range(_NUM_SEEDS))


def write_data_set(run: RunFolder, selection: Selection, config: Config) -> Path:
    """Write `dataset.jsonl` (a row a kept pass) and `distil.json` (the counts). Equal runs, equal bytes.

    Raises:
        InfrastructureError: no attempt could be judged, or the disk refuses.
        UsageError: nothing was kept.
    """
    if selection.num_unscored == selection.num_samples:
        raise InfrastructureError(f"none of {selection.num_samples} completions could be judged; see `earl doctor`")
    if not selection.kept:
        raise UsageError(
            f"nothing to learn from: of {selection.num_samples} completions of {selection.num_problems} problems"
            f" {selection.num_passed} passed, {selection.num_cut} of them cut by sampling.max_tokens; take a policy"
            " that passes now and then (`earl sft`), easier problems (problems.levels) or more distil.num_samples"
        )
    text = "".join(json.dumps(_row(kept)) + "\n" for kept in selection.kept)
    path = run.write_text(DATA_SET, text)
    names = ("problems", "solved", "samples", "unscored", "passed", "cut", "duplicates", "surplus")
    counts: dict[str, Any] = {f"num_{name}": getattr(selection, f"num_{name}") for name in names}
    counts |= {"num_kept": len(selection.kept), "model": config.model.path, "sha256": _digest(text)}
    run.write_json(COUNTS, counts)
    return path


def examples_of(selection: Selection) -> list[Example]:
    """What was kept, as examples: prompts and completions exactly as they were sampled."""
    return [
        Example(
            example_id=f"{kept.attempt.problem.problem_id}:{kept.attempt.sample_idx}",
            prompt=kept.attempt.problem.prompt,
            completion=kept.attempt.text,
        )
        for kept in selection.kept
    ]


def _row(kept: Kept) -> dict[str, Any]:
    attempt = kept.attempt
    assert attempt.reward is not None, attempt
    problem = attempt.problem
    return {
        "problem_id": problem.problem_id,
        "family": problem.family,
        "difficulty": problem.difficulty,
        "top_module": problem.top_module,
        "prompt": problem.prompt,
        "completion": attempt.text,
        "sample_idx": attempt.sample_idx,
        "num_tokens": attempt.num_tokens,
        "reward": attempt.reward.value,
        "sampling_seed": attempt.sampling_seed,
        "stimulus_seeds": list(attempt.stimulus_seeds),
        "verdict_sha256": verdict_digest(attempt.judgement.verdict),
        "structure": kept.structure,
        "prompt_sha256": _digest(problem.prompt),
        "completion_sha256": _digest(attempt.text),
    }


def verdict_digest(verdict: Verdict) -> str:
    """Hex digest of all that a verdict says but how long it took."""
    document = VERDICT.dump_python(verdict, mode="json")
    del document["duration_s"]
    return _digest(json.dumps(document, sort_keys=True))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
