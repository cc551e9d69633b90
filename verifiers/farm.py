"""Judges many completions at once in killable worker processes. Torch never enters those.

Each of the farm's threads owns one worker. A job that its worker does not survive is run once more in a fresh one; a
second death is the candidate's if the golden still runs there, and ours otherwise. Equal jobs under way are one job.
"""

import queue
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from types import TracebackType

from pydantic import ValidationError

from toolchain.diagnostics import Diagnostic
from toolchain.errors import InfrastructureError, UsageError
from toolchain.sandbox import choose_rung
from toolchain.tool import find_tool
from verifiers.judgement import JOB, JUDGEMENT, Job, Judgement
from verifiers.types import Outcome, Problem, Stage, Verdict
from verifiers.worker_process import WorkerLost, WorkerProcess

JOBS_PER_WORKER = 500  # a worker is replaced after that many: what native code leaks goes with it


class Farm:
    """A set of worker processes. Use it as a context manager, or call `close`.

    `isolation` is "auto" or a rung of `toolchain.sandbox`; `job_wall_s` is the deadline of one job in a worker.
    Raises ToolNotFound without Icarus, InfrastructureError when the named rung does not work here.
    """

    def __init__(self, *, num_workers: int = 2, isolation: str = "auto", job_wall_s: float = 60.0) -> None:
        if num_workers < 1 or job_wall_s <= 0:
            raise UsageError(f"num_workers is {num_workers} and job_wall_s {job_wall_s}; both must be positive.")
        for name in ("iverilog", "vvp"):
            find_tool(name)
        self.isolation = choose_rung(isolation)
        self._job_wall_s = job_wall_s
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._under_way: dict[Job, Future[Judgement]] = {}
        self._lock = threading.Lock()
        self._is_closed = False
        self._workers: list[WorkerProcess | None] = [None] * num_workers
        self._threads = [
            threading.Thread(target=self._serve, args=(slot,), name=f"farm-{slot}", daemon=True)
            for slot in range(num_workers)
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> "Farm":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def submit(self, problem: Problem, completion_text: str, seeds: tuple[int, ...]) -> "Future[Judgement]":
        """Queue a completion. Equal jobs under way share one future: do not cancel it."""
        if not seeds:
            raise UsageError("a judgement needs at least one seed, got none; use EVAL_SEEDS or group_seed.")
        # Half a surrogate pair cannot be written to a file or a wire: it becomes a question mark, of the same length.
        text = completion_text.encode(errors="replace").decode()
        job = Job(problem=problem, completion_text=text, seeds=seeds)
        with self._lock:
            if self._is_closed:
                raise InfrastructureError("a job was submitted to a farm that is closed; open a new one.")
            future = self._under_way.get(job)
            if future is None:
                future = self._under_way[job] = Future()
                self._jobs.put(job)
        return future

    def judge_all(
        self,
        jobs: Iterable[tuple[Problem, str, tuple[int, ...]]],
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Judgement]:
        """Judge all of (problem, completion text, seeds), in order. `progress(num_done, num_jobs)` is told of each."""
        futures = [self.submit(problem, text, seeds) for problem, text, seeds in jobs]
        judgements = []
        for num_done, future in enumerate(futures, start=1):
            judgements.append(future.result())
            if progress is not None:
                progress(num_done, len(futures))
        return judgements

    def close(self) -> None:
        """End the farm: jobs not yet judged fail with InfrastructureError, and all workers are killed. Idempotent."""
        with self._lock:
            self._is_closed = True
            workers = [worker for worker in self._workers if worker is not None]
        for worker in workers:
            worker.interrupt()
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _serve(self, slot: int) -> None:
        try:
            while (job := self._jobs.get()) is not None:
                try:
                    judgement = self._judge(slot, job)
                except Exception as error:  # the boundary of a job: whatever happens belongs to its future
                    self._finish(job).set_exception(error)
                else:
                    self._finish(job).set_result(judgement)
        finally:
            self._drop(slot)

    def _judge(self, slot: int, job: Job) -> Judgement:
        try:
            return self._ask(slot, job)
        except WorkerLost as first:
            self._check_open()
            try:
                return self._ask(slot, job)
            except WorkerLost as second:
                self._check_open()
                return self._blame(slot, job, f"{first}; then, in a fresh worker: {second}")

    def _blame(self, slot: int, job: Job, how: str) -> Judgement:
        """The verdict on a job that two workers did not survive: does the golden alone do better?"""
        outcome = Outcome.RESOURCE_LIMIT
        try:
            golden = self._ask(slot, Job(problem=job.problem, completion_text=None, seeds=job.seeds))
        except WorkerLost as error:
            outcome, how = Outcome.TOOL_ERROR, f"{how}; the golden alone: {error}"
        else:
            if not golden.verdict.passed:
                said = "; ".join(diagnostic.message for diagnostic in golden.verdict.diagnostics)
                outcome, how = Outcome.TOOL_ERROR, f"{how}; the golden alone: {said}"
        verdict = Verdict(
            outcome=outcome,
            stage=Stage.SCREEN,
            seed=job.seeds[0],
            diagnostics=(Diagnostic(message=how, code="worker_lost"),),
            isolation=self.isolation,
        )
        return Judgement(candidate=None, verdict=verdict)

    def _ask(self, slot: int, job: Job) -> Judgement:
        worker = self._worker(slot)
        try:
            return JUDGEMENT.validate_json(worker.ask(JOB.dump_json(job), wall_s=self._job_wall_s))
        except WorkerLost:
            self._drop(slot)
            raise
        except ValidationError as error:
            self._drop(slot)
            raise WorkerLost(f"the worker's answer is no judgement: {error}") from error

    def _worker(self, slot: int) -> WorkerProcess:
        """The slot's worker, or a new one when there is none or it has served long enough."""
        worker = self._workers[slot]
        if worker is not None and worker.num_jobs >= JOBS_PER_WORKER:
            self._drop(slot)
            worker = None
        if worker is None:
            with self._lock:  # so that `close` either sees the new worker or keeps it from being started
                self._check_open()
                worker = self._workers[slot] = WorkerProcess(isolation=self.isolation)
        return worker

    def _drop(self, slot: int) -> None:
        worker, self._workers[slot] = self._workers[slot], None
        if worker is not None:
            worker.kill()

    def _check_open(self) -> None:
        if self._is_closed:
            raise InfrastructureError("the farm was closed before this job was judged.")

    def _finish(self, job: Job) -> "Future[Judgement]":
        with self._lock:
            return self._under_way.pop(job)
