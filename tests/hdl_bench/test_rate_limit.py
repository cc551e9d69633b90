"""Rate limits on a clock that the test turns."""

import asyncio

import pytest

from hdl_bench.rate_limit import RateLimiter


class Clock:
    """Time passes only in `sleep`."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now

    async def sleep(self, wait_s):
        self.now += wait_s


def admissions(count, *, guess=10, used=None, **limits):
    """Seconds from the start at which requests are admitted, one after the other."""
    clock = Clock()
    limiter = RateLimiter(**limits, clock=clock, sleep=clock.sleep)

    async def ask():
        times = []
        for _ in range(count):
            reserved = await limiter.admit(guess, lambda: False)
            times.append(round(clock.now - 100.0, 3))
            limiter.settle(reserved, used)
        return times

    return asyncio.run(ask())


def test_requests_are_spread_over_the_minute():
    assert admissions(4, requests_per_min=30) == [0.0, 2.0, 4.0, 6.0]


def test_without_limits_nothing_waits():
    assert admissions(50) == [0.0] * 50


def test_tokens_that_were_used_count_not_those_guessed():
    # 10 a second, 600 at first. The first leaves 200; the others reserve the mean, 400: one waits for the 200 that are
    # missing, 20 s, the next for all 400.
    assert admissions(3, guess=10, used=400, tokens_per_min=600) == [0.0, 20.0, 60.0]


def test_a_request_larger_than_a_minutes_budget_goes_out_when_that_is_full():
    assert admissions(2, guess=1000, tokens_per_min=600) == [0.0, 100.0]


def test_a_pause_holds_everyone_and_an_end_is_noticed_in_a_wait():
    clock = Clock()
    limiter = RateLimiter(clock=clock, sleep=clock.sleep)
    limiter.pause(7.0)
    assert asyncio.run(limiter.admit(1, lambda: False)) == 1
    assert clock.now == pytest.approx(107.0)
    limiter.pause(100.0)
    assert asyncio.run(limiter.admit(1, lambda: clock.now > 110)) is None
    assert clock.now < 111


def test_tokens_of_a_request_that_was_not_answered_are_free_again():
    clock = Clock()
    limiter = RateLimiter(tokens_per_min=60, clock=clock, sleep=clock.sleep)
    for _ in range(5):
        limiter.release(asyncio.run(limiter.admit(60, lambda: False)))
    assert clock.now == 100.0
