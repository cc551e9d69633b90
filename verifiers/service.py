"""The farm as an HTTP service: batches of completions in, judgements out, each idempotency key judged once.

It parses no candidate itself: hostile text goes to the farm's killable workers untouched. It keeps nothing on disk and
does not encrypt. A problem that comes over the wire is not trusted, whatever it says of its own test module.
"""

import asyncio
import hashlib
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Annotated, Any
from uuid import uuid4

from fastapi import FastAPI, Header, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from fastapi.security import HTTPBearer
from starlette.exceptions import HTTPException

from toolchain.errors import EarlError, UsageError
from verifiers.connect import Judge
from verifiers.judgement import Judgement
from verifiers.probe import probe
from verifiers.service_answers import Answers
from verifiers.service_errors import ServiceError, overloaded
from verifiers.service_guard import Guard
from verifiers.service_metrics import CONTENT_TYPE, Metrics
from verifiers.service_wire import ANSWER, WIRE_VERSION, BatchAnswer, BatchBody, ErrorDocument, JobBody, Pending, Status
from verifiers.types import CocotbOracle, Problem

_READY_S = 10.0  # for so long a proof that judging works is good
_PROBE_S = 30.0
_RETRY_AFTER_S = range(1, 31)
_KEY = r"^[A-Za-z0-9_.:-]{1,128}$"
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorDocument} for status in (400, 401, 408, 409, 413, 421, 422, 429, 503)
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceSettings:
    """Limits of a service. `token` None serves names of the loopback only."""

    token: str | None = None
    max_jobs: int = 256  # in one batch
    max_pending_jobs: int = 2048
    max_body_bytes: int = 32 << 20
    wait_s: float = 20.0  # a request whose batch takes longer is answered 202: ask again with the same key


class _Service:
    """The state behind the routes. For one event loop."""

    def __init__(self, judge: Judge, settings: ServiceSettings) -> None:
        self.settings = settings
        self.answers = Answers()
        self.num_pending_jobs = 0
        self.metrics = Metrics(
            num_pending_jobs=lambda: self.num_pending_jobs,
            max_pending_jobs=settings.max_pending_jobs,
            farm_stats=judge.stats,
        )
        self._judge = judge
        self._mean_job_s = 0.05  # moving, of a job in its worker: for Retry-After
        self._readiness = asyncio.Lock()
        self._ready_until = -math.inf

    def status(self) -> Status:
        return Status(
            wire_version=WIRE_VERSION,
            version=version("earl-rtl"),
            isolation=self._judge.isolation,
            max_jobs=self.settings.max_jobs,
            max_pending_jobs=self.settings.max_pending_jobs,
            max_body_bytes=self.settings.max_body_bytes,
            num_pending_jobs=self.num_pending_jobs,
            farm=self._judge.stats(),
        )

    def answer(self, key: str, digest: bytes, jobs: list[JobBody]) -> "asyncio.Task[bytes]":
        """The task that answers a batch: the one under way or done for its key, or a new one if there is room."""
        known = self.answers.find(key, digest)
        if known is not None:
            self.metrics.num_replayed.inc()
            return known
        limits = self.settings
        if len(jobs) > min(limits.max_jobs, limits.max_pending_jobs):
            raise ServiceError(
                413, "too_many_jobs", f"a batch may have {limits.max_jobs} jobs, got {len(jobs)}; split it"
            )
        if self.num_pending_jobs + len(jobs) > limits.max_pending_jobs:
            wait_s = math.ceil(self.num_pending_jobs * self._mean_job_s / self._judge.stats().num_workers)
            retry_after_s = min(max(wait_s, _RETRY_AFTER_S[0]), _RETRY_AFTER_S[-1])
            message = f"{self.num_pending_jobs} jobs are pending of at most {limits.max_pending_jobs}; try again later"
            raise overloaded(retry_after_s, message)
        self.num_pending_jobs += len(jobs)
        return self.answers.start(key, digest, lambda: self._judge_batch(jobs))

    async def _judge_batch(self, jobs: list[JobBody]) -> bytes:
        started = time.monotonic()
        try:
            # In a thread, since a full farm makes `submit` wait.
            futures = await asyncio.to_thread(
                lambda: [self._judge.submit(_distrusted(job.problem), job.completion, tuple(job.seeds)) for job in jobs]
            )
            # Shielded: equal jobs share a future, so the end of one request must not cancel it.
            judgements = await asyncio.gather(*(asyncio.shield(asyncio.wrap_future(future)) for future in futures))
        finally:
            self.num_pending_jobs -= len(jobs)
        for judgement in judgements:
            self._count(judgement)
        self.metrics.batch_s.observe(time.monotonic() - started)
        return ANSWER.dump_json(BatchAnswer(judgements=tuple(judgements)))

    def _count(self, judgement: Judgement) -> None:
        self.metrics.count(judgement)
        self._mean_job_s += 0.02 * (judgement.verdict.duration_s - self._mean_job_s)

    async def check_ready(self) -> None:
        """Raises EarlError when judging does not work now."""
        async with self._readiness:
            if time.monotonic() < self._ready_until:
                return
            await asyncio.to_thread(probe, self._judge, wall_s=_PROBE_S)
            self._ready_until = time.monotonic() + _READY_S


def _distrusted(problem: Problem) -> Problem:
    oracle = problem.oracle
    if isinstance(oracle, CocotbOracle) and oracle.is_trusted:
        return replace(problem, oracle=replace(oracle, is_trusted=False))
    return problem


def build_app(judge: Judge, settings: ServiceSettings) -> FastAPI:
    """The application. The caller opens and closes `judge`."""
    service = _Service(judge, settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await service.answers.cancel()

    app = FastAPI(
        title="EARL verifier",
        version=version("earl-rtl"),
        summary="Judges Verilog completions by simulation.",
        lifespan=lifespan,
        dependencies=[Security(HTTPBearer(auto_error=False))] if settings.token else [],  # for the documents only
    )
    app.add_middleware(Guard, token=settings.token, max_body_bytes=settings.max_body_bytes)
    _add_error_handlers(app)
    _add_judging(app, service)
    _add_watching(app, service)
    return app


def _add_judging(app: FastAPI, service: _Service) -> None:
    @app.post("/v1/verdicts", response_model=BatchAnswer, responses={202: {"model": Pending}, **_ERRORS})
    async def verdicts(
        request: Request, body: BatchBody, idempotency_key: Annotated[str | None, Header(pattern=_KEY)] = None
    ) -> Response:
        """Judge a batch. The same key with the same body gives the same answer and is judged once."""
        digest = hashlib.sha256(await request.body()).digest()
        task = service.answer(idempotency_key or uuid4().hex, digest, body.jobs)
        done, _ = await asyncio.wait({task}, timeout=service.settings.wait_s)
        if not done:
            pending = Pending(num_jobs=len(body.jobs), message="under way; send the same batch with the same key again")
            return JSONResponse(pending.model_dump(), status_code=202)
        return Response(task.result(), media_type="application/json")

    @app.get("/v1/status", responses=_ERRORS)
    async def status() -> Status:
        """Versions, limits and load."""
        return service.status()


def _add_watching(app: FastAPI, service: _Service) -> None:
    @app.get("/healthz", response_class=PlainTextResponse)
    async def healthz() -> str:
        """The process answers."""
        return "ok\n"

    @app.get("/readyz", response_class=PlainTextResponse, responses={503: {"model": ErrorDocument}})
    async def readyz() -> str:
        """Judging works: a right design passed and a wrong one did not, within the last seconds."""
        await service.check_ready()
        return "ok\n"

    @app.get("/metrics", response_class=PlainTextResponse, responses=_ERRORS)
    async def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE)

    @app.middleware("http")
    async def count(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        route = request.scope.get("route")
        service.metrics.answers.labels(route.path if route else "other", str(response.status_code)).inc()
        return response


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(ServiceError)
    async def refused(request: Request, error: ServiceError) -> JSONResponse:
        return error.response()

    @app.exception_handler(UsageError)
    async def unusable(request: Request, error: UsageError) -> JSONResponse:
        return ServiceError(422, "invalid", str(error)).response()

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> JSONResponse:
        """A fault of this program; the server logs its trace."""
        return ServiceError(500, "internal", f"{type(error).__name__}; see the service's log").response()

    @app.exception_handler(EarlError)
    async def failed(request: Request, error: EarlError) -> JSONResponse:
        """Ours, not the candidate's: no verdict was given, and the client may ask again."""
        return ServiceError(503, type(error).__name__, str(error), headers={"Retry-After": "2"}).response()

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        return ServiceError(422, "invalid", f"{place}: {first['msg']}").response()

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        return ServiceError(error.status_code, "http_error", str(error.detail)).response()
