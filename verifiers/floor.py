"""Who of a farm's workers is at work, so that a doubtful job can be run again with all others at rest."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from toolchain.errors import DeadlineExceeded


@dataclass(kw_only=True, slots=True)
class Visit:
    """One stay on the floor. `was_alone` is final when the stay has ended."""

    was_alone: bool


class Floor:
    """Lets workers in side by side, or one of them alone. Who waits to be alone goes before all who come later."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._visits: list[Visit] = []
        self._num_waiting = 0  # to be alone

    @contextmanager
    def shared(self, *, wait_s: float) -> Iterator[Visit]:
        """Work beside others. Raises DeadlineExceeded after `wait_s` seconds of others who want to be alone."""
        with self._changed:
            self._wait(lambda: not self._num_waiting, wait_s, "those that work alone")
            visit = self._enter()
        yield from self._stay(visit)

    @contextmanager
    def alone(self, *, wait_s: float) -> Iterator[Visit]:
        """Work with all others at rest. Raises DeadlineExceeded when they are not within `wait_s` seconds."""
        with self._changed:
            self._num_waiting += 1
            try:
                self._wait(lambda: not self._visits, wait_s, "the other workers of the farm")
            except DeadlineExceeded:
                self._leave_alone()
                raise
            visit = self._enter()
        try:
            yield from self._stay(visit)
        finally:
            with self._changed:
                self._leave_alone()

    def _wait(self, is_free, wait_s: float, whom: str) -> None:
        if not self._changed.wait_for(is_free, timeout=wait_s):
            raise DeadlineExceeded(f"waited {wait_s:g} s for {whom} to finish; see `earl doctor`.")

    def _enter(self) -> Visit:
        visit = Visit(was_alone=not self._visits)
        for other in self._visits:
            other.was_alone = False
        self._visits.append(visit)
        return visit

    def _stay(self, visit: Visit) -> Iterator[Visit]:
        try:
            yield visit
        finally:
            with self._changed:
                self._visits = [other for other in self._visits if other is not visit]
                self._changed.notify_all()

    def _leave_alone(self) -> None:
        self._num_waiting -= 1
        self._changed.notify_all()
