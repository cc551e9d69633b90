"""Scores completions on a benchmark: our verdict on each row and, where there is one, upstream's beside it.

Rows stay as they come: in input order, duplicates included. It samples nothing from a model, and computes no rate: that
is `hdl_bench.rates`.
"""

import functools
import queue
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hdl_bench.compatible import Answer, CompatibleResult, CompatibleRule
from hdl_bench.errata import merged
from hdl_bench.proofs import prove_passes
from hdl_bench.scored import ScoredBenchmark
from hdl_bench.soundness import shown_errata
from hdl_bench.text_files import read_json_lines
from toolchain.errors import UsageError
from toolchain.executor import Executor
from toolchain.tool import find_tool
from verifiers.cache import DiskCache
from verifiers.checker import Checker, run_check
from verifiers.connect import Judge
from verifiers.formal import FormalOutcome, FormalProver
from verifiers.judgement import Judgement
from verifiers.seeds import EVAL_SEEDS
from verifiers.types import Outcome, Problem, Verdict

Progress = Callable[[str, int, int], None]  # what is under way, number done, number of all


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One row: a completion of a problem. `sample_idx` counts the problem's rows from 0. `is_extracted`: it is a file
    that upstream's scripts took out of an answer already."""

    problem_id: str
    sample_idx: int
    completion: str
    is_extracted: bool = False

    @property
    def answer(self) -> Answer:
        """The row as upstream's rule takes it."""
        return Answer(problem_id=self.problem_id, completion=self.completion, is_extracted=self.is_extracted)


@dataclass(frozen=True, kw_only=True, slots=True)
class SizeRatios:
    """Figures of a synthesized candidate over those of the golden; None where there is no ratio."""

    cells: float | None
    wires: float | None
    depth: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredRow:
    """A row and what became of it. `compatible` is None for a benchmark that has no upstream, `proof` where none was
    tried: only passes on stock testbenches are put to proof. `candidate` is the Verilog that was judged, if there was
    any."""

    sample: Sample
    verdict: Verdict
    compatible: CompatibleResult | None
    proof: FormalOutcome | None = None
    candidate: str | None = None
    sizes: SizeRatios | None = None  # of a pass, where synthesis was asked for

    @property
    def is_disagreement(self) -> bool:
        """Whether upstream's rule and ours part ways."""
        return self.compatible is not None and self.compatible.passed != self.verdict.passed


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """All rows of a benchmark in input order."""

    benchmark: ScoredBenchmark
    rows: tuple[ScoredRow, ...]

    @property
    def disagreements(self) -> tuple[ScoredRow, ...]:
        """The rows on which upstream's rule and ours part ways."""
        return tuple(row for row in self.rows if row.is_disagreement)


def read_samples(path: Path, benchmark: ScoredBenchmark) -> tuple[Sample, ...]:
    """The rows of a file of JSON lines, each {"problem_id": ..., "completion": ...}; other keys are ignored.

    Raises UsageError that names the line for what is no such row, and for a problem that the benchmark does not have.
    """
    samples: list[Sample] = []
    num_seen: dict[str, int] = defaultdict(int)
    for where, row in read_json_lines(path):
        if not isinstance(row, dict):
            raise UsageError(f"{where} must be an object with problem_id and completion, got {row!r:.60}")
        for key in ("problem_id", "completion"):
            if not isinstance(row.get(key), str):
                raise UsageError(f"{where} needs {key!r} as a string, got {row.get(key)!r:.60}")
        problem_id = row["problem_id"]
        if problem_id not in benchmark.problems:
            known = ", ".join(list(benchmark.problems)[:3])
            raise UsageError(f"{where}: {benchmark.name} has no problem {problem_id!r}; its names are like {known}")
        samples.append(Sample(problem_id=problem_id, sample_idx=num_seen[problem_id], completion=row["completion"]))
        num_seen[problem_id] += 1
    if not samples:
        raise UsageError(f'{path} holds no row; give JSON lines {{"problem_id": ..., "completion": ...}}')
    return tuple(samples)


def score_samples(
    benchmark: ScoredBenchmark,
    samples: Sequence[Sample],
    judges: "Judges",
    *,
    progress: Progress,
) -> Score:
    """Judge all samples. Raises UsageError for tests that may not run on the judge's rung."""
    benchmark.require_isolation(judges.ours.isolation)
    problems = [benchmark.problems[s.problem_id] for s in samples]
    texts = [benchmark.prepare(s.problem_id, s.completion) for s in samples]
    jobs = [(problem, text, EVAL_SEEDS) for problem, text in zip(problems, texts, strict=True)]
    judgements = _judge_all(judges.ours, jobs, functools.partial(progress, "hardened"))
    answers: list[tuple[Verdict, FormalOutcome | None]] = [(judgement.verdict, None) for judgement in judgements]
    if judges.prover is not None:
        tell = functools.partial(_tell_proofs, progress, len(samples))
        answers = prove_passes(problems, judgements, judges.prover, tell, cache=judges.cache)
    results: list[CompatibleResult | None] = [None] * len(samples)
    if judges.upstream is not None and benchmark.compatible is not None:
        upstream_answers = [sample.answer for sample in samples]
        show = functools.partial(progress, "compatible")
        results = [*judges.upstream.run_all(benchmark.compatible, upstream_answers, show)]
    candidates = [judgement.candidate and judgement.candidate.text for judgement in judgements]
    rows = zip(samples, answers, results, candidates, strict=True)
    return Score(
        benchmark=_with_shown_errata(benchmark, samples, judgements),
        rows=tuple(
            ScoredRow(sample=sample, verdict=verdict, compatible=result, proof=proof, candidate=candidate)
            for sample, (verdict, proof), result, candidate in rows
        ),
    )


def _judge_all(
    judge: Judge, jobs: Sequence[tuple[Problem, str, tuple[int, ...]]], progress: Callable[[int, int], None]
) -> list[Judgement]:
    """`judge.judge_all`, in order, with the problems that run longest first: at the end all workers have something."""
    order = sorted(range(len(jobs)), key=lambda place: -_num_cycles(jobs[place][0]))
    found = judge.judge_all([jobs[place] for place in order], progress)
    return [judgement for _, judgement in sorted(zip(order, found, strict=True), key=lambda pair: pair[0])]


def _num_cycles(problem: Problem) -> int:
    protocol = problem.oracle.protocol
    return 0 if protocol is None else protocol.min_cycles


def _with_shown_errata(
    benchmark: ScoredBenchmark, samples: Sequence[Sample], judgements: Sequence[Judgement]
) -> ScoredBenchmark:
    """The benchmark with what is wrong with its problems here, beside what was known."""
    names = [sample.problem_id for sample in samples]
    shown = shown_errata(zip(names, (judgement.verdict for judgement in judgements), strict=True))
    errata = {name: merged(benchmark.errata.get(name), found) for name, found in shown.items()}
    return replace(benchmark, errata=benchmark.errata | {name: found for name, found in errata.items() if found})


def _tell_proofs(progress: Progress, num_all: int, num_done: int) -> None:
    progress("proofs", num_done, num_all)


class Upstream:
    """Runs candidates the benchmark's own way, equal ones once, as many at a time as there are executors.

    Raises ToolNotFound when Icarus is not installed.
    """

    def __init__(self, executors: Sequence[Executor]) -> None:
        self._iverilog, self._vvp = (str(find_tool(name).path) for name in ("iverilog", "vvp"))
        self._num_executors = len(executors)
        self._free: queue.SimpleQueue[Executor] = queue.SimpleQueue()
        for executor in executors:
            self._free.put(executor)

    def run_all(
        self, rule: CompatibleRule, answers: Sequence[Answer], progress: Callable[[int, int], None]
    ) -> tuple[CompatibleResult, ...]:
        """The results, in order."""
        checker = rule.checker(self._iverilog, self._vvp)
        jobs = [rule.job(answer) for answer in answers]
        with ThreadPoolExecutor(max_workers=self._num_executors) as pool:
            futures = {job: pool.submit(self._run, checker, job) for job in dict.fromkeys(jobs)}
            results = []
            for num_done, job in enumerate(jobs, start=1):
                results.append(rule.result(futures[job].result()))
                progress(num_done, len(jobs))
        return tuple(results)

    def _run(self, checker: Checker[Any, str], job: Hashable) -> str:
        executor = self._free.get()
        try:
            return run_check(checker, job, executor)
        finally:
            self._free.put(executor)


@dataclass(frozen=True, kw_only=True, slots=True)
class Judges:
    """Who judges: ours always; the prover and the benchmark's own way where they are wanted. `cache` keeps proofs."""

    ours: Judge
    prover: FormalProver | None = None
    upstream: Upstream | None = None
    cache: DiskCache | None = None


def reason_of(row: ScoredRow) -> str:
    """Why upstream's rule and ours part ways on a row."""
    assert row.compatible is not None, "only a row with upstream's result can disagree"
    if row.verdict.passed:
        return f"passes ours; upstream's letter is {row.compatible.letter} ({row.compatible.meaning})"
    verdict = row.verdict
    said = [diagnostic.message for diagnostic in verdict.diagnostics[:1]]
    if verdict.outcome is Outcome.MISMATCH and verdict.first_mismatch is not None:
        first = verdict.first_mismatch
        said = [
            f"output {first.output} is {first.got} where the golden's is {first.expected}, in row {first.row} of our "
            f"own stimulus (seed {verdict.seed})"
        ]
    return f"{verdict.outcome}: {'; '.join(said)}"
