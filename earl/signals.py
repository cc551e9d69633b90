"""Asking a long job to stop: the first Ctrl-C or SIGTERM is remembered, a second Ctrl-C interrupts at once."""

import signal
from types import FrameType


class StopRequest:
    """A context in which SIGINT and SIGTERM set a flag. Main thread only."""

    def __init__(self) -> None:
        self.is_set = False
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopRequest":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.is_set and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.is_set = True
