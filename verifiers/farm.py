"""Judges many completions at once in killable worker processes. Torch never enters those.

Each of the farm's threads owns one worker. Equal jobs under way are one job; equal candidates of the past are looked up
in the cache, if there is one; whose fault a bad end is, the arbiter decides. When too many are ours, the farm fails
fast.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from toolchain.errors import UsageError
from toolchain.sandbox import choose_rung
from toolchain.tool import find_tool
from verifiers.arbiter import Arbiter, is_batch_alarm, our_fault
from verifiers.breaker import CircuitBreaker
from verifiers.cache import DiskCache
from verifiers.connect import judge_all
from verifiers.farm_stats import FarmStats, Tally
from verifiers.job_queue import MAX_GROUP
from verifiers.judgement import VERDICT, Answer, Job, Judgement, Source, WorkerSettings
from verifiers.pending_jobs import PendingJobs
from verifiers.slot import Slot
from verifiers.types import Problem, Verdict

AUDIT_FRACTION = 0.01
_log = logging.getLogger("verifiers.farm")


class Farm:
    """A set of worker processes. Use it as a context manager, or call `close`.

    `isolation` is "auto" or a rung of `toolchain.sandbox`; `job_wall_s` is the deadline of one job in a worker;
    `max_queued` bounds the jobs that wait; `cache` is the file where verdicts and golden traces are kept.
    Raises ToolNotFound without Icarus, InfrastructureError when the named rung does not work here, UsageError for a
    cache that cannot be made.
    """

    def __init__(
        self,
        *,
        num_workers: int = 2,
        isolation: str = "auto",
        job_wall_s: float = 150.0,
        max_queued: int = 4096,
        cache: Path | None = None,
        audit_fraction: float = AUDIT_FRACTION,
    ) -> None:
        if num_workers < 1 or job_wall_s <= 0 or max_queued < 1:
            raise UsageError(
                f"num_workers is {num_workers}, job_wall_s {job_wall_s} and max_queued {max_queued}; "
                "all must be positive."
            )
        for name in ("iverilog", "vvp"):
            find_tool(name)
        self.isolation = choose_rung(isolation)
        self._cache = None if cache is None else DiskCache(cache)
        path = "" if cache is None else str(cache.absolute())
        settings = WorkerSettings(isolation=self.isolation, cache=path, audit_fraction=audit_fraction)
        stall_s = job_wall_s * (MAX_GROUP + 4)  # a group, then a member again: none takes longer
        self._breaker = CircuitBreaker()
        self._tally = Tally()
        self._jobs = PendingJobs(self._tally, max_queued=max_queued, stall_s=stall_s)
        self._arbiter = Arbiter(isolation=self.isolation, tally=self._tally, wait_s=stall_s * num_workers)
        self._slots = [Slot(settings, job_wall_s=job_wall_s) for _ in range(num_workers)]
        self._threads = [
            threading.Thread(target=self._serve, args=(slot,), name=f"farm-{number}", daemon=True)
            for number, slot in enumerate(self._slots)
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> "Farm":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def submit(
        self, problem: Problem, completion_text: str, seeds: tuple[int, ...], *, is_blocking: bool = True
    ) -> "Future[Judgement]":
        """Queue a completion. Equal jobs under way share one future.

        A full queue is waited for, or raises Overloaded when not `is_blocking`. Raises InfrastructureError when the
        farm is closed or fails fast, DeadlineExceeded when a full queue does not move.
        """
        self._breaker.check()
        return self._jobs.submit(problem, completion_text, seeds, is_blocking=is_blocking)

    def judge_all(
        self,
        jobs: Iterable[tuple[Problem, str, tuple[int, ...]]],
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Judgement]:
        """Judge all of (problem, completion text, seeds), in order. `progress(num_done, num_jobs)` is told of each."""
        return judge_all(self, jobs, progress)

    def stats(self) -> FarmStats:
        """How the farm stands, and what it has done so far."""
        num_queued, num_unsettled = self._jobs.num_queued, self._jobs.num_unsettled
        now = FarmStats(
            num_workers=len(self._slots),
            num_queued=num_queued,
            num_running=max(0, num_unsettled - num_queued),
            max_queued=self._jobs.max_queued,
            breaker=self._breaker.state,
            num_workers_started=sum(slot.num_started for slot in self._slots),
            num_workers_lost=sum(slot.num_lost for slot in self._slots),
        )
        return self._tally.fill_in(now)

    def close(self) -> None:
        """End the farm: jobs not yet judged fail with InfrastructureError, and all workers are killed. Idempotent."""
        self._jobs.close()
        for slot in self._slots:
            slot.close()
        for thread in self._threads:
            thread.join()
        if self._cache is not None:
            self._cache.close()

    def _serve(self, slot: Slot) -> None:
        try:
            while (jobs := self._jobs.take()) is not None:
                self._serve_jobs(slot, jobs)
        finally:
            slot.drop()

    def _serve_jobs(self, slot: Slot, jobs: tuple[Job, ...]) -> None:
        """Answer the futures of all jobs, come what may. The first of them is the breaker's trial if it wants one."""
        left, is_trial = list(jobs), False
        try:
            is_trial = self._breaker.enter()
            for answer in self._arbiter.answers(slot, jobs):
                error = our_fault(answer.judgement.verdict)
                self._breaker.record(left[0].problem.problem_id, error, is_trial=is_trial)
                is_trial = False
                self._settle(left[0], answer)
                left.pop(0)
        except Exception as error:  # the boundary of a job: whatever happens belongs to its future
            for job in left:
                self._jobs.fail(job, error)
            if left and not self._jobs.is_closed:
                self._breaker.record(left[0].problem.problem_id, str(error), is_trial=is_trial)

    def _settle(self, job: Job, answer: Answer) -> None:
        """Count an answer, keep its verdict if it is final and new, and give it to the job's future."""
        verdict = answer.judgement.verdict
        self._tally.judged(job.problem.problem_id, verdict)
        self._tally.add("num_stored", int(answer.source is Source.STORED))
        self._tally.add("num_same_design", int(answer.source is Source.SHARED))
        self._tally.add("num_batch_alarms", int(is_batch_alarm(verdict)))
        if answer.stored is not None:
            self._audit(job, answer, answer.stored)
        elif self._cache is not None and answer.key and verdict.is_scored:
            self._cache.put(answer.key, VERDICT.dump_json(verdict))
            self._tally.add("num_cache_faults", self._cache.take_faults())
        self._jobs.settle(job, answer.judgement)

    def _audit(self, job: Job, answer: Answer, stored: Verdict) -> None:
        self._tally.add("num_audits")
        fresh = answer.judgement.verdict
        if not fresh.is_scored or replace(fresh, duration_s=0.0) == replace(stored, duration_s=0.0):
            return
        assert self._cache is not None, "a stored verdict without a cache"
        self._cache.drop(answer.key)
        self._tally.add("num_alarms")
        _log.error(
            "the cache held another verdict on a candidate of %s than a new run gives (%s, now %s); it was dropped",
            *(job.problem.problem_id, stored.outcome, fresh.outcome),
        )
