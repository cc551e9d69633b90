"""Waiting for the judge: a short outage never ends a run, a long one ends it cleanly. A step never trains on nothing.

The judge is lost when it raises an InfrastructureError, or when every verdict of a step is a tool error of ours. Then
the step is asked for again after pauses that double; finished verdicts are in the journal and are not judged again.
"""

import math
import time
from collections.abc import Callable
from concurrent.futures import Future, TimeoutError
from dataclasses import dataclass, field

from earl.hooks import Hooks, StepInterrupted
from earl.types import Rollout
from toolchain.errors import DeadlineExceeded, InfrastructureError
from verifiers.arbiter import our_fault, reason
from verifiers.judgement import Judgement

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_TICK_S = 0.5  # how soon a request to stop is heard
_FIRST_TOLD_S = 10.0  # into a wait for one verdict; then after twice the time, and so on


class FarmLost(InfrastructureError):
    """The judge stayed lost for longer than `verifier.wait_s`; nothing of the step has touched the weights."""


@dataclass(kw_only=True, slots=True)
class Patience:
    """How long to wait for a lost judge, whom to tell, and who may end the wait (by StepInterrupted)."""

    limit_s: float = 0.0
    hooks: Hooks = field(default_factory=Hooks)
    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _heard_at: float = -math.inf  # when the last verdict came

    def insist(self, ask: Callable[[], list[list[Rollout]]]) -> list[list[Rollout]]:
        """What `ask` answers, asked again while the judge is lost. FarmLost after `limit_s` without a verdict."""
        asked_at, lost_at, pause_s = self.now(), None, _FIRST_PAUSE_S
        while True:
            cause, trouble = None, ""
            try:
                rollouts = ask()
                trouble = _trouble(rollouts)
            except InfrastructureError as error:
                cause, trouble = error, str(error)
            if not trouble:
                self._tell_of_broken_problems(rollouts)
                return rollouts
            now = self.now()
            lost_at = max(asked_at, self._heard_at) if lost_at is None else lost_at
            left_s = lost_at + self.limit_s - now
            if left_s <= 0:
                raise FarmLost(
                    f"the judge was waited for {now - lost_at:.0f} s (verifier.wait_s = {self.limit_s:g}): {trouble}"
                ) from cause
            pause_s = min(pause_s, left_s)
            self.hooks.warn(
                f"no verdicts: {trouble}. Waiting for the judge: it is asked again in {pause_s:.0f} s, for up to"
                f" {left_s:.0f} s more (verifier.wait_s)"
            )
            self._pause(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def result(self, future: "Future[Judgement]", what: str, *, deadline_s: float) -> Judgement:
        """The result of a future, its own exception, or DeadlineExceeded. A long wait is told of."""
        started, tell_after_s = self.now(), _FIRST_TOLD_S
        while True:
            try:
                judgement = future.result(timeout=_TICK_S)
                self._heard_at = self.now()
                return judgement
            except TimeoutError as error:
                if future.done() and future.exception() is error:  # the judge's own deadline, which says more
                    raise
            self._stop_if_asked()
            waited_s = self.now() - started
            if waited_s >= deadline_s:
                raise DeadlineExceeded(f"waited {deadline_s:.0f} s for {what}; see `earl doctor`")
            if waited_s >= tell_after_s:
                tell_after_s *= 2
                self.hooks.warn(f"waiting for {what} since {waited_s:.0f} s, at most {deadline_s:.0f} s")

    def _pause(self, pause_s: float) -> None:
        until = self.now() + pause_s
        while (left_s := until - self.now()) > 0:
            self._stop_if_asked()
            self.sleep(min(_TICK_S, left_s))

    def _stop_if_asked(self) -> None:
        if self.hooks.should_stop():
            raise StepInterrupted

    def _tell_of_broken_problems(self, rollouts: list[list[Rollout]]) -> None:
        """A step whose problems are all broken has nothing to train on, and waiting would not mend them."""
        verdicts = [rollout.verdict for group in rollouts for rollout in group]
        if verdicts and not any(verdict.is_scored for verdict in verdicts):
            self.hooks.warn(
                f"every problem of this step is broken, none of it is trained on: {reason(verdicts[0])};"
                " see `earl problems check`"
            )


def _trouble(rollouts: list[list[Rollout]]) -> str:
    """Why the judge counts as lost; empty when a verdict is scored, or when the fault is the problems' own."""
    verdicts = [rollout.verdict for group in rollouts for rollout in group]
    if any(verdict.is_scored for verdict in verdicts):
        return ""
    faults = [fault for fault in map(our_fault, verdicts) if fault]
    return f"every verdict of the step is a tool error; the last: {faults[-1]}" if faults else ""
