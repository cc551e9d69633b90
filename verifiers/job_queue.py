"""A bounded queue of jobs that hands out those of one problem and seeds together. Fair between problems, in turn.

Whoever puts waits while it is full, or is told so; whoever takes waits while it is empty. Knows nothing of judging.
"""

import threading
from collections import deque

from toolchain.errors import DeadlineExceeded, InfrastructureError
from verifiers.judgement import Job
from verifiers.types import Problem

MAX_GROUP = 8  # jobs handed out together


class Overloaded(InfrastructureError):
    """The farm's queue is full and the caller did not want to wait. Try again later."""


class JobQueue:
    """Jobs that wait for a worker, at most `max_jobs` of them."""

    def __init__(self, *, max_jobs: int) -> None:
        self._max_jobs = max_jobs
        self._changed = threading.Condition()
        self._groups: dict[tuple[Problem, tuple[int, ...]], deque[Job]] = {}  # in the order of their turn
        self._num_jobs = 0
        self._num_taken = 0
        self._num_idle = 0  # takers that wait
        self._is_closed = False

    def __len__(self) -> int:
        return self._num_jobs

    def put(self, job: Job, *, is_blocking: bool, stall_s: float) -> None:
        """Add a job, when there is room for it.

        Raises Overloaded when full and not `is_blocking`, DeadlineExceeded when full and nothing was taken for
        `stall_s` seconds, InfrastructureError when closed.
        """
        with self._changed:
            self._wait_for_room(is_blocking, stall_s)
            self._groups.setdefault((job.problem, job.seeds), deque()).append(job)
            self._num_jobs += 1
            self._changed.notify_all()

    def take(self) -> tuple[Job, ...] | None:
        """The jobs whose turn it is, of one problem and seeds; None when the queue is closed and empty."""
        with self._changed:
            self._num_idle += 1
            self._changed.wait_for(lambda: self._num_jobs or self._is_closed)
            self._num_idle -= 1
            if not self._num_jobs:
                return None
            key = next(iter(self._groups))
            waiting = self._groups.pop(key)
            # Takers that wait get their share: a group is for when there are more jobs than hands.
            share = -(-self._num_jobs // (self._num_idle + 1))
            taken = tuple(waiting.popleft() for _ in range(min(len(waiting), MAX_GROUP, share)))
            if waiting:
                self._groups[key] = waiting  # at the end: the other problems come first
            self._num_jobs -= len(taken)
            self._num_taken += len(taken)
            self._changed.notify_all()
            return taken

    def close(self) -> tuple[Job, ...]:
        """Take no more jobs; those that waited are returned."""
        with self._changed:
            self._is_closed = True
            left = tuple(job for waiting in self._groups.values() for job in waiting)
            self._groups.clear()
            self._num_jobs = 0
            self._changed.notify_all()
            return left

    def _wait_for_room(self, is_blocking: bool, stall_s: float) -> None:
        while not self._is_closed and self._num_jobs >= self._max_jobs:
            if not is_blocking:
                raise Overloaded(f"{self._num_jobs} jobs wait already, as many as may; try again later.")
            num_taken = self._num_taken
            if not self._changed.wait_for(lambda n=num_taken: self._is_closed or self._num_taken != n, timeout=stall_s):
                raise DeadlineExceeded(
                    f"the farm's queue is full ({self._num_jobs} jobs) and no worker took one for {stall_s:g} s; "
                    "see `earl doctor`."
                )
        if self._is_closed:
            raise InfrastructureError("a job was submitted to a farm that is closed; open a new one.")
