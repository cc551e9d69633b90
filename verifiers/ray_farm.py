"""The farm on a Ray cluster: `submit` and `judge_all` as the local farm has them, with its workers on other machines.

Each of the farm's threads owns one actor. An actor that is lost takes no job along: the driver asks another one, and
since only it settles a future, and once, no answer counts twice. Ray must run on every node with the same earl-rtl and
the same simulators.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from types import TracebackType

import ray

from toolchain.diagnostics import Diagnostic
from toolchain.errors import InfrastructureError
from verifiers.connect import FarmSettings, judge_all
from verifiers.farm_stats import FarmStats, Tally
from verifiers.job_queue import MAX_GROUP
from verifiers.judgement import GroupJob, Job, Judgement
from verifiers.pending_jobs import PendingJobs
from verifiers.ray_worker import ActorLost, RayWorker
from verifiers.types import Outcome, Problem, Stage, Verdict

_log = logging.getLogger("verifiers.farm")
_MAX_QUEUED = 4096
_CALL_S = 60.0 * (MAX_GROUP + 4)  # the farm of an actor has deadlines of its own: this one is for lost machines
_STARTS = 3
_ASKS = 2  # of a group, and then of each of its members alone


class NoCluster(InfrastructureError):
    """No Ray cluster runs where one was looked for."""


class RayFarm:
    """Workers on a cluster. Use it as a context manager, or call `close`.

    `address` is "ray" (the cluster of RAY_ADDRESS or of this machine, else a new one here), "auto" (a running one) or
    ray://HOST:PORT. `settings.num_workers` actors take one CPU each; `settings.cache` is a path on every node.
    Raises NoCluster for "auto" without one, InfrastructureError when no worker can be started there.
    """

    def __init__(self, address: str, settings: FarmSettings) -> None:
        self._owns_connection = _connect(address)
        self._settings = FarmSettings(num_workers=1, isolation=settings.isolation, cache=settings.cache)
        self._tally = Tally()
        self._jobs = PendingJobs(self._tally, max_queued=_MAX_QUEUED, stall_s=_CALL_S)
        self._lock = threading.Lock()
        self._identity: dict[str, str] | None = None
        self._workers: list[RayWorker | None] = [None] * settings.num_workers
        self._threads: list[threading.Thread] = []
        try:
            self.isolation = self._worker(0).identity["isolation"]
        except BaseException:
            self.close()
            raise
        for slot in range(settings.num_workers):
            thread = threading.Thread(target=self._serve, args=(slot,), name=f"ray-farm-{slot}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def __enter__(self) -> "RayFarm":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def submit(self, problem: Problem, completion_text: str, seeds: tuple[int, ...]) -> "Future[Judgement]":
        """Queue a completion. Equal jobs under way share one future. A full queue is waited for."""
        return self._jobs.submit(problem, completion_text, seeds, is_blocking=True)

    def judge_all(
        self,
        jobs: Iterable[tuple[Problem, str, tuple[int, ...]]],
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Judgement]:
        """Judge all of (problem, completion text, seeds), in order. `progress(num_done, num_jobs)` is told of each."""
        return judge_all(self, jobs, progress)

    def stats(self) -> FarmStats:
        """How the farm stands, and what it has done so far. The counters of the actors' own farms are not in it."""
        num_queued, num_unsettled = self._jobs.num_queued, self._jobs.num_unsettled
        return self._tally.fill_in(
            FarmStats(
                num_workers=len(self._workers),
                num_queued=num_queued,
                num_running=max(0, num_unsettled - num_queued),
                max_queued=self._jobs.max_queued,
            )
        )

    def close(self) -> None:
        """End the farm: jobs not yet judged fail with InfrastructureError, and all actors end. Idempotent."""
        with self._lock:
            if self._jobs.is_closed:
                return
            self._jobs.close()
            # An actor that judges is killed; an idle one is ended in good order by its thread.
            doomed = [worker for worker in self._workers if worker is not None] if self._jobs.num_unsettled else []
        for worker in doomed:
            worker.kill()
        for thread in self._threads:
            thread.join()
        if self._owns_connection:
            ray.shutdown()

    def _serve(self, slot: int) -> None:
        while (jobs := self._jobs.take()) is not None:
            self._serve_group(slot, jobs)
        worker = self._workers[slot]
        if worker is not None:
            worker.close()

    def _serve_group(self, slot: int, jobs: tuple[Job, ...]) -> None:
        try:
            judgements = self._judge(slot, jobs)
        except Exception as error:  # the boundary of a group: whatever happens belongs to its futures
            for job in jobs:
                self._jobs.fail(job, error)
        else:
            for job, judgement in zip(jobs, judgements, strict=True):
                self._tally.judged(job.problem.problem_id, judgement.verdict)
                self._jobs.settle(job, judgement)

    def _judge(self, slot: int, jobs: tuple[Job, ...]) -> list[Judgement]:
        """The judgements of a group. If actors die of it, each member is tried alone, and only the culprit is lost."""
        try:
            return self._ask(slot, jobs)
        except ActorLost as error:
            if len(jobs) == 1:
                return [self._lost(jobs[0], str(error))]
        return [judgement for job in jobs for judgement in self._judge(slot, (job,))]

    def _ask(self, slot: int, jobs: tuple[Job, ...]) -> list[Judgement]:
        group = GroupJob(
            problem=jobs[0].problem, completion_texts=tuple(job.completion_text for job in jobs), seeds=jobs[0].seeds
        )
        for number in range(_ASKS):
            worker = self._worker(slot)
            try:
                return worker.judge(group, wall_s=_CALL_S)
            except ActorLost as error:
                self._drop(slot)
                self._check_open()
                name = group.problem.problem_id
                _log.warning("Ray worker %d was lost with %d jobs of %s: %s", worker.pid, len(jobs), name, error)
                if number == _ASKS - 1:
                    raise
        raise AssertionError("the last round above returns or raises")

    def _lost(self, job: Job, how: str) -> Judgement:
        """The judgement on a job that no actor survived. Never scored: nothing shows whose fault it was."""
        verdict = Verdict(
            outcome=Outcome.TOOL_ERROR,
            stage=Stage.SCREEN,
            seed=job.seeds[0],
            diagnostics=(Diagnostic(message=how, code="ray_worker_lost"),),
            isolation=self.isolation,
        )
        return Judgement(candidate=None, verdict=verdict)

    def _worker(self, slot: int) -> RayWorker:
        """The slot's worker, or a new one, which must be of the kind of all others."""
        worker = self._workers[slot]
        if worker is not None:
            return worker
        worker = _start(self._settings)
        self._tally.add("num_workers_started")
        with self._lock:  # so that `close` either sees the new worker or keeps it from being used
            identity = self._identity = self._identity or worker.identity
            if not self._jobs.is_closed and worker.identity == identity:
                self._workers[slot] = worker
                return worker
        worker.close()
        self._check_open()
        raise InfrastructureError(
            f"the nodes of the Ray cluster differ: one has {worker.identity}, another {identity};"
            " install the same versions on all"
        )

    def _drop(self, slot: int) -> None:
        self._tally.add("num_workers_lost")
        self._workers[slot] = None

    def _check_open(self) -> None:
        if self._jobs.is_closed:
            raise InfrastructureError("the farm was closed before this job was judged.")


def _connect(address: str) -> bool:
    """Connect this process to a cluster; whether it was not connected before."""
    if ray.is_initialized():
        return False
    where = None if address == "ray" else address
    try:
        ray.init(address=where, log_to_driver=False, logging_level=logging.ERROR)
    except ConnectionError as error:
        raise NoCluster(
            f"no Ray cluster answers at {address}: {error}; start one with `ray start --head`, and if it wants a token"
            " set RAY_AUTH_MODE and RAY_AUTH_TOKEN here as there"
        ) from error
    return True


def _start(settings: FarmSettings) -> RayWorker:
    for _ in range(_STARTS - 1):
        try:
            return RayWorker(settings)
        except ActorLost as error:
            _log.warning("%s", error)
    try:
        return RayWorker(settings)
    except ActorLost as error:
        raise InfrastructureError(f"no worker can be started on the Ray cluster: {error}") from error
