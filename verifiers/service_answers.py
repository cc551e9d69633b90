"""Idempotency: the answers under way and given, by the client's key. The same key never has a batch judged twice.

In memory: after a restart of the service a key is new. A batch that failed on our side is forgotten, so that the same
key may try again. For one event loop.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from verifiers.service_errors import ServiceError


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    digest: bytes  # of the request's body
    task: "asyncio.Task[bytes]"


class Answers:
    """Tasks that give an answer's bytes, by key. Finished ones are kept up to a number and a size, the oldest go."""

    def __init__(self, *, max_kept: int = 4096, max_kept_bytes: int = 128 << 20) -> None:
        self._max_kept, self._max_kept_bytes = max_kept, max_kept_bytes
        self._entries: dict[str, _Entry] = {}
        self._kept: OrderedDict[str, int] = OrderedDict()  # finished ones, oldest first -> bytes
        self._num_kept_bytes = 0

    def find(self, key: str, digest: bytes) -> "asyncio.Task[bytes] | None":
        """The task of a key that is known. ServiceError (409) when it came with another body."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.digest != digest:
            message = f"the idempotency key {key!r:.80} was used with another body; use a new key for a new batch"
            raise ServiceError(409, "key_reused", message)
        return entry.task

    def start(self, key: str, digest: bytes, judge: Callable[[], Awaitable[bytes]]) -> "asyncio.Task[bytes]":
        """Begin to answer a key that is not known. The task outlives the request that started it."""
        assert key not in self._entries, key

        async def run() -> bytes:
            return await judge()

        task = asyncio.create_task(run(), name=f"batch-{key}")
        self._entries[key] = _Entry(digest=digest, task=task)
        task.add_done_callback(lambda done: self._keep(key, done))
        return task

    async def cancel(self) -> None:
        """End the tasks under way; their waiters see a cancellation."""
        tasks = [entry.task for entry in self._entries.values() if not entry.task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _keep(self, key: str, task: "asyncio.Task[bytes]") -> None:
        if task.cancelled() or task.exception() is not None:
            del self._entries[key]
            return
        self._kept[key] = len(task.result())
        self._num_kept_bytes += self._kept[key]
        while len(self._kept) > self._max_kept or self._num_kept_bytes > self._max_kept_bytes:
            oldest, num_bytes = self._kept.popitem(last=False)
            self._num_kept_bytes -= num_bytes
            del self._entries[oldest]
