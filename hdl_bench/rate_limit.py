"""How fast an endpoint may be asked: requests and tokens a minute, and pauses that the endpoint itself asks for.

Both budgets refill steadily and hold one minute's worth at most. Tokens of a request are not known before it is
answered: the mean of those answered so far is reserved, and the difference settled afterwards.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable

_LOOK_UP_S = 0.5  # a wait looks this often whether it is to end


class RateLimiter:
    """For one event loop. A limit of 0 is none. `clock` (seconds) and `sleep` are for tests."""

    def __init__(
        self,
        *,
        requests_per_min: float = 0,
        tokens_per_min: float = 0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clock, self._sleep = clock, sleep
        now = clock()
        # The first minute starts with one request's worth, so that a burst cannot exceed the limit in any minute.
        self._requests = _Bucket(requests_per_min, level=1, now=now)
        self._tokens = _Bucket(tokens_per_min, level=tokens_per_min, now=now)
        self._not_before = now
        self._num_answered = self._num_tokens = 0

    async def admit(self, guessed_tokens: int, is_over: Callable[[], bool]) -> int | None:
        """Wait until a request may go out. Returns the tokens reserved for it, or None when `is_over` meanwhile."""
        while not is_over():
            reserved = self._num_tokens // self._num_answered if self._num_answered else guessed_tokens
            now = self._clock()
            waits_s = (self._not_before - now, self._requests.wait_s(1, now), self._tokens.wait_s(reserved, now))
            if max(waits_s) <= 0:
                self._requests.take(1)
                self._tokens.take(reserved)
                return reserved
            await self._sleep(min(max(waits_s), _LOOK_UP_S))
        return None

    def settle(self, reserved: int, used: int | None) -> None:
        """A request was answered and used this many tokens; None: it does not tell, so the reserved ones count."""
        if used is not None:
            self._num_answered += 1
            self._num_tokens += used
            self._tokens.take(used - reserved)

    def release(self, reserved: int) -> None:
        """A request was not answered: its tokens are free again."""
        self._tokens.take(-reserved)

    def pause(self, wait_s: float) -> None:
        """Send nothing for this long: the endpoint said so."""
        self._not_before = max(self._not_before, self._clock() + wait_s)


class _Bucket:
    """A budget that refills by `per_min` a minute, up to a minute's worth. It may go below zero."""

    def __init__(self, per_min: float, *, level: float, now: float) -> None:
        self._per_s, self._most, self._level, self._at = per_min / 60, per_min, level, now

    def wait_s(self, amount: float, now: float) -> float:
        """How long until `amount` is there, or, when that is more than it ever holds, until it is full."""
        if not self._most:
            return 0.0
        self._level = min(self._most, self._level + (now - self._at) * self._per_s)
        self._at = now
        missing = min(amount, self._most) - self._level
        return missing / self._per_s if missing > 1e-9 else 0.0

    def take(self, amount: float) -> None:
        if self._most:
            self._level -= amount
