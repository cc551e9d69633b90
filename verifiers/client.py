"""The client of `earl serve`: `submit` and `judge_all` as the local farm has them, over HTTP.

A batch carries an idempotency key, so that it may be sent again after a lost connection, an overload or a restart: no
job is lost, and each future gets one judgement. What goes wrong on the way is an error, never a verdict.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar
from uuid import uuid4

from pydantic import ValidationError

from toolchain.errors import DeadlineExceeded, EarlError, InfrastructureError, UsageError
from verifiers.client_http import Call, Caller, Refused
from verifiers.connect import judge_all
from verifiers.farm_stats import FarmStats
from verifiers.judgement import Job, Judgement
from verifiers.service_wire import ANSWER, WIRE_VERSION, Status, batch_body, job_to_json
from verifiers.types import Problem

T = TypeVar("T")
_BATCH_JOBS = 32
_BATCH_BYTES = 4 << 20
_STATS_S = 30.0
_STOP_S = 10.0
_MARGIN_S = 5.0  # beyond a deadline that the coroutine has itself


@dataclass(frozen=True, slots=True)
class _Item:
    job: Job
    line: bytes  # the job on the wire


class ServiceClient:
    """A connection to a service. Use it as a context manager, or call `close`.

    `deadline_s` bounds a batch from its first sending to its verdicts, `open_s` the wait for a service that may still
    be starting. Raises DeadlineExceeded when none answers, InfrastructureError when it is of another wire version.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        deadline_s: float = 600.0,
        open_s: float = 15.0,
        num_connections: int = 8,
    ) -> None:
        if min(deadline_s, open_s, num_connections) <= 0:
            raise UsageError("deadline_s, open_s and num_connections of a client must be positive.")
        self._caller = Caller(url, token)
        self._deadline_s = deadline_s
        self._lock = threading.Lock()
        self._under_way: dict[Job, Future[Judgement]] = {}
        self._is_closed = False
        self._queue: asyncio.Queue[_Item] = asyncio.Queue()
        self._senders: list[asyncio.Task[None]] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="service-client", daemon=True)
        self._thread.start()
        try:
            self._status = self._run(self._open(open_s, num_connections), wall_s=open_s)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "ServiceClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def isolation(self) -> str:
        """The rung that the service's candidates run on."""
        return self._status.isolation

    def submit(self, problem: Problem, completion_text: str, seeds: tuple[int, ...]) -> "Future[Judgement]":
        """Queue a completion. Equal jobs under way share one future: do not cancel it."""
        if not seeds:
            raise UsageError("a judgement needs at least one seed, got none; use EVAL_SEEDS or group_seed.")
        text = completion_text.encode(errors="replace").decode()  # as the farm does: no wire carries half a surrogate
        job = Job(problem=problem, completion_text=text, seeds=seeds)
        item = _Item(job, job_to_json(problem, text, seeds))
        with self._lock:
            if self._is_closed:
                raise InfrastructureError("a job was submitted to a client that is closed; open a new one.")
            future = self._under_way.get(job)
            if future is None:
                future = self._under_way[job] = Future()
                self._loop.call_soon_threadsafe(self._queue.put_nowait, item)
        return future

    def judge_all(
        self,
        jobs: Iterable[tuple[Problem, str, tuple[int, ...]]],
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Judgement]:
        """Judge all of (problem, completion text, seeds), in order. `progress(num_done, num_jobs)` is told of each."""
        return judge_all(self, jobs, progress)

    def stats(self) -> FarmStats:
        """How the service's farm stands, and what it has done so far for all its clients."""
        with self._lock:
            if self._is_closed:
                raise InfrastructureError("the statistics of a closed client were asked for; open a new one.")
        return self._run(self._ask_status(_STATS_S), wall_s=_STATS_S).farm

    def close(self) -> None:
        """End the connection: jobs not yet judged fail with InfrastructureError. Idempotent."""
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
        self._run(self._stop(), wall_s=_STOP_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        for job in list(self._under_way):
            self._finish(job).set_exception(InfrastructureError("the client was closed before this job was judged."))

    def _run(self, coroutine: Coroutine[Any, Any, T], *, wall_s: float) -> T:
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result(timeout=wall_s + _MARGIN_S)
        except TimeoutError as error:
            if isinstance(error, EarlError):  # its own deadline, which says more
                raise
            raise DeadlineExceeded(f"the connection to {self._caller.url} did not react within {wall_s:g} s") from error

    async def _open(self, open_s: float, num_connections: int) -> Status:
        status = await self._ask_status(open_s)
        self._senders = [asyncio.create_task(self._send_forever(status)) for _ in range(num_connections)]
        return status

    async def _ask_status(self, deadline_s: float) -> Status:
        call = Call(method="GET", path="/v1/status", what="the status", deadline_s=deadline_s)
        answer = await self._caller.answer(call)
        try:
            status = Status.model_validate_json(answer)
        except ValidationError as error:
            raise InfrastructureError(
                f"{self._caller.url} is no verifier of wire version {WIRE_VERSION}: {error.errors()[0]['msg']};"
                " install the same earl-rtl on both ends"
            ) from error
        if status.wire_version != WIRE_VERSION:
            raise InfrastructureError(
                f"{self._caller.url} speaks wire version {status.wire_version}, this end {WIRE_VERSION}:"
                " install the same earl-rtl on both ends"
            )
        return status

    async def _stop(self) -> None:
        for sender in self._senders:
            sender.cancel()
        await asyncio.gather(*self._senders, return_exceptions=True)
        await self._caller.close()

    async def _send_forever(self, status: Status) -> None:
        max_jobs = min(_BATCH_JOBS, status.max_jobs, status.max_pending_jobs)
        max_bytes = min(_BATCH_BYTES, status.max_body_bytes)
        held: _Item | None = None
        while True:
            batch = [held or await self._queue.get()]
            num_bytes, held = len(batch[0].line), None
            while len(batch) < max_jobs and not self._queue.empty():
                item = self._queue.get_nowait()
                num_bytes += len(item.line) + 1
                if num_bytes > max_bytes:
                    held = item
                    break
                batch.append(item)
            await self._send(batch)

    async def _send(self, batch: list[_Item]) -> None:
        """Have a batch judged and settle its futures. One job that is refused must not take the others along."""
        try:
            judgements = await self._judge(batch)
        except Refused as error:
            if len(batch) == 1:
                self._finish(batch[0].job).set_exception(error)
            for item in batch if len(batch) > 1 else ():
                await self._send([item])
        except Exception as error:  # the boundary of a batch: whatever happens belongs to its futures
            for item in batch:
                self._finish(item.job).set_exception(error)
        else:
            for item, judgement in zip(batch, judgements, strict=True):
                self._finish(item.job).set_result(judgement)

    async def _judge(self, batch: list[_Item]) -> tuple[Judgement, ...]:
        call = Call(
            method="POST",
            path="/v1/verdicts",
            what=f"{len(batch)} verdicts ({batch[0].job.problem.problem_id} first)",
            deadline_s=self._deadline_s,
            content=batch_body([item.line for item in batch]),
            headers={"Idempotency-Key": uuid4().hex},
        )
        content = await self._caller.answer(call)
        try:
            judgements = ANSWER.validate_json(content).judgements
        except ValidationError as error:
            raise InfrastructureError(
                f"{self._caller.url} answered no judgements: {error.errors()[0]['msg']}"
            ) from error
        if len(judgements) != len(batch):
            raise InfrastructureError(f"{self._caller.url} answered {len(judgements)} judgements for {len(batch)} jobs")
        return judgements

    def _finish(self, job: Job) -> "Future[Judgement]":
        with self._lock:
            return self._under_way.pop(job)
