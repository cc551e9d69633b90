"""A circuit breaker: when too many jobs end as errors of ours, the farm fails fast instead of producing more of them.

Tool errors of one problem among several are that problem's (its golden does not run here) and do not count. After a
pause one job is let through as a trial; how it ends decides.
"""

import threading
import time
from collections import deque

from toolchain.errors import InfrastructureError

WINDOW_JOBS = 64
MIN_JOBS = 16  # fewer say nothing
MAX_RATE = 0.5
PAUSE_S = 30.0


class CircuitBreaker:
    """Counts how the last jobs ended. "closed" lets all jobs through, "open" none, "half-open" one."""

    def __init__(self, *, max_rate: float = MAX_RATE, pause_s: float = PAUSE_S) -> None:
        self._max_rate, self._pause_s = max_rate, pause_s
        self._lock = threading.Lock()
        self._window: deque[tuple[str, bool]] = deque(maxlen=WINDOW_JOBS)  # problem, is an error
        self._opened_at: float | None = None
        self._is_on_trial = False
        self._reason = ""

    @property
    def state(self) -> str:
        """ "closed", "open" or "half-open"."""
        if self._opened_at is None:
            return "closed"
        return "half-open" if self._is_on_trial else "open"

    def check(self) -> None:
        """Raise InfrastructureError, with the rate and the last error, while open. Takes no trial."""
        with self._lock:
            self._refuse_while_open()

    def enter(self) -> bool:
        """As `check`, for jobs that are about to run. True: they are the trial, the first ones after the pause."""
        with self._lock:
            self._refuse_while_open()
            self._is_on_trial = self._opened_at is not None
            return self._is_on_trial

    def record(self, problem_id: str, error: str, *, is_trial: bool) -> None:
        """How a job that entered has ended: `error` is empty unless it was a tool error or an exception."""
        with self._lock:
            if is_trial:
                self._is_on_trial = False
                self._opened_at = time.monotonic() if error else None
                self._window.clear()
                return
            if self._opened_at is not None:  # it was under way when the breaker opened
                return
            self._window.append((problem_id, bool(error)))
            rate = sum(is_error for _, is_error in self._window) / len(self._window)
            if error and len(self._window) >= MIN_JOBS and rate >= self._max_rate and not self._is_of_one_problem():
                self._opened_at = time.monotonic()
                self._reason = (
                    f"{rate:.0%} of the last {len(self._window)} jobs ended as tool errors, so no more are run for "
                    f"{self._pause_s:g} s; the last error: {error}. See `earl doctor`."
                )

    def _refuse_while_open(self) -> None:
        if self._opened_at is None:
            return
        if self._is_on_trial or time.monotonic() - self._opened_at < self._pause_s:
            raise InfrastructureError(self._reason)

    def _is_of_one_problem(self) -> bool:
        failing = {problem_id for problem_id, is_error in self._window if is_error}
        return len(failing) == 1 and len({problem_id for problem_id, _ in self._window}) > 1
