"""The jobs that a farm has taken on: each waits in the queue once, and its future is settled once."""

import threading
from concurrent.futures import Future

from toolchain.errors import InfrastructureError, UsageError
from verifiers.farm_stats import Tally
from verifiers.job_queue import JobQueue
from verifiers.judgement import Job, Judgement
from verifiers.types import Problem


class PendingJobs:
    """Jobs from their submission to their judgement, for any number of threads that take and settle them.

    At most `max_queued` wait for a taker; one that finds no room waits until one is taken, `stall_s` seconds at most.
    """

    def __init__(self, tally: Tally, *, max_queued: int, stall_s: float) -> None:
        self.max_queued = max_queued
        self._tally, self._stall_s = tally, stall_s
        self._queue = JobQueue(max_jobs=max_queued)
        self._futures: dict[Job, Future[Judgement]] = {}
        self._lock = threading.Lock()
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """Whether no more jobs are taken on."""
        return self._is_closed

    @property
    def num_queued(self) -> int:
        """Jobs that wait for a taker."""
        return len(self._queue)

    @property
    def num_unsettled(self) -> int:
        """Jobs without an answer: those that wait, and those that were taken."""
        with self._lock:
            return len(self._futures)

    def submit(
        self, problem: Problem, completion_text: str, seeds: tuple[int, ...], *, is_blocking: bool
    ) -> "Future[Judgement]":
        """Queue a completion. Equal jobs share one future.

        Raises UsageError without seeds, and what `JobQueue.put` raises.
        """
        if not seeds:
            raise UsageError("a judgement needs at least one seed, got none; use EVAL_SEEDS or group_seed.")
        # Half a surrogate pair cannot be written to a file or a wire: it becomes a question mark, of the same length.
        text = completion_text.encode(errors="replace").decode()
        job = Job(problem=problem, completion_text=text, seeds=seeds)
        with self._lock:
            if self._is_closed:
                raise InfrastructureError("a job was submitted to a farm that is closed; open a new one.")
            self._tally.add("num_submitted")
            future = self._futures.get(job)
            if future is not None:
                self._tally.add("num_shared")
                return future
            future = self._futures[job] = Future()
            future.set_running_or_notify_cancel()  # it cannot be cancelled: others may share it
        try:
            self._queue.put(job, is_blocking=is_blocking, stall_s=self._stall_s)
        except InfrastructureError as error:
            self.fail(job, error)
            raise
        return future

    def take(self) -> tuple[Job, ...] | None:
        """The jobs whose turn it is, of one problem and seeds; None when closed and empty."""
        return self._queue.take()

    def settle(self, job: Job, judgement: Judgement) -> None:
        """Answer a job that was taken and not yet answered."""
        with self._lock:
            future = self._futures.pop(job)
        future.set_result(judgement)

    def fail(self, job: Job, error: Exception) -> None:
        """Answer a job by an exception, unless it has an answer already."""
        with self._lock:
            future = self._futures.pop(job, None)
        if future is not None:
            self._tally.add("num_failed")
            future.set_exception(error)

    def close(self) -> None:
        """Take on no more; jobs that nobody took fail with InfrastructureError. Idempotent."""
        with self._lock:
            self._is_closed = True
        for job in self._queue.close():
            self.fail(job, InfrastructureError("the farm was closed before this job was judged."))
