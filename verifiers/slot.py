"""A place for one worker in a farm: starts it when it is needed, replaces it when it is lost or has served its time."""

import threading
import time

from pydantic import ValidationError

from toolchain.errors import InfrastructureError
from verifiers.judgement import GROUP_JOB, REPLY, GroupJob, Reply, Source, WorkerSettings
from verifiers.worker_process import WorkerLost, WorkerProcess

RUNS_PER_WORKER = 1000  # a worker is replaced after that many designs: what native code leaks goes with it

START_WALL_S = 60.0
START_TRIES = 3
START_PAUSE_S = 0.5


class NoWorker(Exception):
    """No worker could be started, by no candidate's fault. The message says why."""


class Slot:
    """One worker at a time; `job_wall_s` is its deadline for each completion of a job.

    `ask` and `drop` are for one thread, `close` is for any.
    """

    def __init__(self, settings: WorkerSettings, *, job_wall_s: float) -> None:
        self.num_started = 0
        self.num_lost = 0
        self.worker: WorkerProcess | None = None
        self._settings, self._job_wall_s = settings, job_wall_s
        self._lock = threading.Lock()
        self._is_closed = False
        self._num_runs = 0  # of the worker

    def ask(self, job: GroupJob) -> Reply:
        """The worker's reply to a job.

        Raises WorkerLost when the worker dies of it or passes the deadline, NoWorker when none could be started,
        InfrastructureError when the slot is closed.
        """
        num_answers = max(1, len(job.completion_texts))
        worker = self._ready_worker()
        try:
            line = worker.ask(GROUP_JOB.dump_json(job), wall_s=self._job_wall_s * num_answers)
            reply = REPLY.validate_json(line)
            if len(reply.answers) != num_answers:
                raise WorkerLost(f"the worker gave {len(reply.answers)} answers to {num_answers} completions")
            self._num_runs += sum(answer.source in (Source.RUN, Source.AUDIT) for answer in reply.answers)
        except (WorkerLost, ValidationError) as error:
            self.num_lost += 1
            self.drop()
            self._check_open()
            raise WorkerLost(str(error)) from error
        return reply

    def drop(self) -> None:
        """End the worker, if there is one."""
        worker, self.worker = self.worker, None
        if worker is not None:
            worker.kill()

    def close(self) -> None:
        """End the worker whatever it does, and let no other be started. The thread that asks gets WorkerLost."""
        with self._lock:
            self._is_closed = True
            worker = self.worker
        if worker is not None:
            worker.interrupt()

    def _ready_worker(self) -> WorkerProcess:
        """The worker, or a new one."""
        if self.worker is not None and self._num_runs >= RUNS_PER_WORKER:
            self.drop()
        for num_tries in range(1, START_TRIES + 1):
            if self.worker is not None:
                break
            try:
                self._start()
            except (OSError, WorkerLost) as error:
                self.drop()
                if num_tries == START_TRIES:
                    raise NoWorker(f"no worker could be started in {num_tries} tries: {error}") from error
                time.sleep(START_PAUSE_S)
        return self.worker

    def _start(self) -> None:
        with self._lock:  # so that `close` either sees the new worker or keeps it from being started
            self._check_open()
            self.worker = WorkerProcess(self._settings)
        self.num_started += 1
        self._num_runs = 0
        self.worker.await_ready(wall_s=START_WALL_S)

    def _check_open(self) -> None:
        if self._is_closed:
            raise InfrastructureError("the farm was closed before this job was judged.")
