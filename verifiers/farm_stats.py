"""What a farm has done so far, as counters that only grow, and how it stands now."""

import logging
import threading
from collections import Counter, OrderedDict
from dataclasses import dataclass, field, replace

from verifiers.types import Verdict

MAX_PROBLEMS = 10_000  # problems whose tool errors are counted apart: the most recent
_log = logging.getLogger("verifiers.farm")


@dataclass(frozen=True, kw_only=True, slots=True)
class FarmStats:
    """A farm at one moment. All but the first four and `breaker` only grow."""

    num_workers: int
    num_queued: int  # jobs that wait for a worker
    num_running: int  # jobs that a worker has
    max_queued: int
    breaker: str = "closed"  # or "open", "half-open"
    num_submitted: int = 0
    num_judged: int = 0  # futures answered by a judgement
    num_failed: int = 0  # futures answered by an exception
    num_shared: int = 0  # submissions that shared the future of an equal job under way
    num_same_design: int = 0  # completions whose design another one of their group held
    num_groups: int = 0  # jobs handed out together with others, counted by group
    num_stored: int = 0  # verdicts taken from the cache
    num_audits: int = 0  # stored verdicts that were run again
    num_alarms: int = 0  # audits that found another verdict
    num_batch_alarms: int = 0  # verdicts that a batch and a single run disagreed on
    num_cache_faults: int = 0  # damaged entries, and times that the cache could not be used
    num_reruns_alone: int = 0  # jobs run again with all other workers at rest
    num_workers_started: int = 0
    num_workers_lost: int = 0
    judging_s: float = 0.0  # sum of the verdicts' durations
    outcomes: dict[str, int] = field(default_factory=dict)
    tool_errors: dict[str, tuple[int, int]] = field(default_factory=dict)  # problem -> tool errors, jobs


class Tally:
    """Counts for `FarmStats`. For several threads; memory does not grow with the number of jobs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._judging_s = 0.0
        self._problems: OrderedDict[str, list[int]] = OrderedDict()  # problem -> tool errors, jobs

    def add(self, name: str, amount: int = 1) -> None:
        """Add to the counter `name`, a field of FarmStats."""
        with self._lock:
            self._counts[name] += amount

    def judged(self, problem_id: str, verdict: Verdict) -> None:
        """Count a verdict. The tool errors of a problem are logged at their first, second, fourth, ... time."""
        with self._lock:
            self._counts["num_judged"] += 1
            self._outcomes[verdict.outcome.value] += 1
            self._judging_s += verdict.duration_s
            record = self._problems.setdefault(problem_id, [0, 0])
            self._problems.move_to_end(problem_id)
            if len(self._problems) > MAX_PROBLEMS:
                self._problems.popitem(last=False)
            record[0] += not verdict.is_scored
            record[1] += 1
            num_errors, num_jobs = record
        if not verdict.is_scored and num_errors & (num_errors - 1) == 0:
            said = "; ".join(diagnostic.message for diagnostic in verdict.diagnostics)
            _log.warning("%s: %d of %d jobs ended as tool errors; the last: %s", problem_id, num_errors, num_jobs, said)

    def fill_in(self, now: FarmStats) -> FarmStats:
        """`now`, which knows how the farm stands, with all that was counted."""
        with self._lock:
            return replace(
                now,
                **self._counts,
                judging_s=self._judging_s,
                outcomes=dict(self._outcomes),
                tool_errors={name: (errors, jobs) for name, (errors, jobs) in self._problems.items() if errors},
            )
