"""Samples a model on a benchmark and judges each sample as it comes. A killed run goes on where it was.

The run's folder holds `run.json` (settings and versions), `samples.jsonl` and `verdicts.jsonl`. Which model, and how it
is asked, is the caller's: see `earl.samplers`.
"""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from earl.journal import JournaledJudge, VerdictJournal
from earl.run_folder import package_versions, write_atomically
from hdl_bench.sample_journal import SampleJournal
from hdl_bench.sampler import Ask, Listener, Sampled, Sampler
from hdl_bench.score import Judges, Sample, Score, score_samples
from hdl_bench.scored import ScoredBenchmark
from hdl_bench.types import Prompt, Sampling
from toolchain.errors import InfrastructureError, UsageError
from verifiers.judgement import Judgement
from verifiers.seeds import EVAL_SEEDS

_SHOWN_CHANGES = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is to be sampled: prompts by problem (those of the benchmark that were chosen), and how."""

    benchmark: ScoredBenchmark
    prompts: dict[str, Prompt]
    sampling: Sampling

    @property
    def num_samples(self) -> int:
        return len(self.prompts) * self.sampling.num_samples


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """How far a run is. `num_tokens` (of prompts, of completions) is None where an endpoint does not tell."""

    num_sampled: int
    num_judged: int
    num_passed: int
    num_tokens: tuple[int, int] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Watcher:
    """The person at the other end."""

    on_sampling: Callable[[Standing], None]
    on_scoring: Callable[[str, int, int], None]
    should_stop: Callable[[], bool]


class EvalFolder:
    """The folder of a run, and the settings it was started with."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, path: Path | None, settings: dict[str, Any]) -> "EvalFolder":
        """A new folder; None: the first free `runs/eval-NNN`. UsageError when there is one already."""
        names = [path] if path else [Path("runs") / f"eval-{number:03d}" for number in range(1, 1000)]
        for name in names:
            try:
                name.mkdir(parents=True)
            except FileExistsError:
                continue
            except OSError as error:
                raise InfrastructureError(f"cannot make {name}: {error.strerror}; give another --run") from error
            write_atomically(name / "run.json", {"settings": settings, "versions": package_versions()})
            return cls(name)
        raise UsageError(f"the run folder {names[0]} exists; choose another --run, or --resume it")

    @classmethod
    def reopen(cls, path: Path, settings: dict[str, Any]) -> "EvalFolder":
        """A run to go on with. UsageError when it was started with other settings, which are shown."""
        try:
            before = json.loads((path / "run.json").read_text(encoding="utf-8"))["settings"]
        except FileNotFoundError as error:
            raise UsageError(
                f"{path} is no run of a benchmark: it has no run.json; give the folder it printed"
            ) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path / 'run.json'} cannot be read ({error}); start a new run") from error
        now = json.loads(json.dumps(settings))  # as it would be read back
        changed = [
            f"{key}: {_shown(before.get(key))} -> {_shown(now.get(key))}"
            for key in {**before, **now}
            if before.get(key) != now.get(key)
        ]
        if changed:
            raise UsageError(
                f"cannot resume {path} with other settings; changed: {'; '.join(changed[:_SHOWN_CHANGES])}."
                " Give those of the run, or start a new one"
            )
        return cls(path)


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def evaluate_benchmark(
    folder: EvalFolder, plan: Plan, sampler: Sampler, judges: Judges, watcher: Watcher
) -> tuple[Score, SampleJournal] | None:
    """Sample what is not there yet, judging meanwhile, and score all. None when it was stopped before all was sampled.

    Raises UsageError, before anything is sampled, for tests that may not run on the judge's rung; later as sampler and
    judges do: what was sampled until then is kept.
    """
    plan.benchmark.require_isolation(judges.ours.isolation)
    sent = {problem_id: sampler.sent(prompt) for problem_id, prompt in plan.prompts.items()}
    samples = SampleJournal(folder.path / "samples.jsonl", sent)
    verdicts = VerdictJournal(folder.path / "verdicts.jsonl")
    try:
        run = _Run(plan, samples, JournaledJudge(judges.ours, verdicts), watcher)
        run.judge(list(samples.rows))
        watcher.on_sampling(run.standing())
        sampler.sample(run.asks(), plan.sampling, Listener(on_answers=run.take, should_stop=watcher.should_stop))
        if len(samples.rows) < plan.num_samples:
            return None
        ordered = [
            Sample(problem_id=problem_id, sample_idx=index, completion=samples.rows[problem_id, index]["completion"])
            for problem_id in plan.prompts
            for index in range(plan.sampling.num_samples)
        ]
        kept = replace(judges, ours=run.judge_of_ours)
        return score_samples(plan.benchmark, ordered, kept, progress=watcher.on_scoring), samples
    finally:
        samples.close()
        verdicts.close()


class _Run:
    """Takes samples as they come: keeps each, sends it to the judge, and counts."""

    def __init__(self, plan: Plan, samples: SampleJournal, judge: JournaledJudge, watcher: Watcher) -> None:
        self._plan, self._samples, self._watcher = plan, samples, watcher
        self.judge_of_ours = judge
        self._waiting: list[Future[Judgement]] = []
        self._num_judged = self._num_passed = 0

    def asks(self) -> list[Ask]:
        """All problems, each with the samples that are still missing."""
        indices = range(self._plan.sampling.num_samples)
        return [
            Ask(
                problem_id=problem_id,
                prompt=prompt,
                wanted=tuple(index for index in indices if (problem_id, index) not in self._samples.rows),
            )
            for problem_id, prompt in self._plan.prompts.items()
        ]

    def take(self, answers: Sequence[Sampled]) -> None:
        self._samples.append(answers)
        self.judge([(answer.problem_id, answer.sample_idx) for answer in answers])
        self._watcher.on_sampling(self.standing())

    def judge(self, keys: Sequence[tuple[str, int]]) -> None:
        """Send samples to the judge; their verdicts are not waited for."""
        benchmark = self._plan.benchmark
        for key in keys:
            text = benchmark.prepare(key[0], self._samples.rows[key]["completion"])
            self._waiting.append(self.judge_of_ours.submit(benchmark.problems[key[0]], text, EVAL_SEEDS))

    def standing(self) -> Standing:
        """How far it is now."""
        done, waiting = [], []
        for future in self._waiting:
            (done if future.done() else waiting).append(future)
        self._waiting = waiting
        judged = [future.result() for future in done if future.exception() is None]
        self._num_judged += len(judged)
        self._num_passed += sum(judgement.verdict.passed for judgement in judged)
        return Standing(
            num_sampled=len(self._samples.rows),
            num_judged=self._num_judged,
            num_passed=self._num_passed,
            num_tokens=self._samples.num_tokens,
        )
