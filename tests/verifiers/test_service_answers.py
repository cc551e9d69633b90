"""Idempotency keys: what is kept, what is dropped, and what never is."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verifiers.service_answers import Answers
from verifiers.service_errors import ServiceError


@given(st.lists(st.integers(0, 40), max_size=30), st.integers(1, 8), st.integers(1, 100))
def test_no_more_is_kept_than_may_be_and_the_newest_stay(sizes, max_kept, max_kept_bytes):
    async def run() -> list[bool]:
        answers = Answers(max_kept=max_kept, max_kept_bytes=max_kept_bytes)
        for number, size in enumerate(sizes):

            async def judge(size: int = size) -> bytes:
                return b"x" * size

            await answers.start(str(number), b"", judge)
            await asyncio.sleep(0)  # the callback of the task
        return [answers.find(str(number), b"") is not None for number in range(len(sizes))]

    is_kept = asyncio.run(run())
    kept = [size for size, kept in zip(sizes, is_kept, strict=True) if kept]
    assert len(kept) <= max_kept
    assert sum(kept) <= max_kept_bytes
    num_newest = sum(is_kept)
    assert is_kept == [False] * (len(sizes) - num_newest) + [True] * num_newest
    if num_newest < min(len(sizes), max_kept):  # then one more would have been too large
        assert sum(sizes[len(sizes) - num_newest - 1 :]) > max_kept_bytes


def test_what_is_under_way_is_never_dropped_and_what_failed_is():
    async def run() -> None:
        answers = Answers(max_kept=1)
        gate = asyncio.Event()

        async def wait() -> bytes:
            await gate.wait()
            return b"late"

        async def fail() -> bytes:
            raise RuntimeError("ours")

        async def judge() -> bytes:
            return b"soon"

        late = answers.start("late", b"1", wait)
        for number in range(5):
            await answers.start(str(number), b"", judge)
        failing = answers.start("failing", b"", fail)
        with pytest.raises(RuntimeError):
            await failing
        await asyncio.sleep(0)
        assert answers.find("failing", b"") is None
        assert answers.find("late", b"1") is late
        with pytest.raises(ServiceError) as refusal:
            answers.find("late", b"2")
        assert refusal.value.status == 409
        gate.set()
        assert await late == b"late"

    asyncio.run(run())


def test_cancelling_ends_what_is_under_way():
    async def run() -> None:
        answers = Answers()
        task = answers.start("k", b"", lambda: asyncio.sleep(60, b""))
        await answers.cancel()
        assert task.cancelled()
        assert answers.find("k", b"") is None

    asyncio.run(run())
