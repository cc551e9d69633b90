"""The rollout workers of this machine: started with the run, started again when they die, ended with it."""

import functools
import multiprocessing
import signal
import tempfile
from collections.abc import Callable
from multiprocessing import util
from multiprocessing.process import BaseProcess
from pathlib import Path

from earl.asynchronous.spool import Spool
from earl.asynchronous.worker import local_main
from earl.config import Config
from earl.farm_wait import FarmLost
from toolchain.errors import InfrastructureError, UsageError
from toolchain.scratch import Scratch

MAX_RESTARTS = 3  # of one worker without a task finished in between
_LEAVE_S = 15.0
_FINAL = {"usage": UsageError, "judge": FarmLost}  # starting the worker again would not help


class Crew:
    """`rollout.num_workers` processes, or none where all of them are to join. Use `close` at the end."""

    def __init__(self, spool: Spool, config: Config, run_folder: Path, warn: Callable[[str], None]) -> None:
        self._spool, self._config, self._run_folder, self._warn = spool, config, run_folder, warn
        # Forked from a process that has the imports done and no threads: a worker is there at once.
        _place_sockets()
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["earl.asynchronous.worker"])
        self._deaths: dict[str, int] = {}  # since the worker last finished a task
        self.num_restarts = 0
        self._processes: dict[str, BaseProcess] = {}
        if not config.rollout.is_local:
            warn(
                f"waiting for {config.rollout.num_workers} rollout workers; start them with: earl rollouts {run_folder}"
            )
            return
        for number in range(config.rollout.num_workers):
            self._start(f"w{number}")

    def check(self) -> None:
        """Start dead workers again.

        Raises:
            UsageError: a worker found the user's input at fault.
            FarmLost: its judge stayed lost.
            InfrastructureError: one dies again and again.
        """
        for name, process in list(self._processes.items()):
            if process.exitcode is None:
                continue
            failure = self._spool.take_failure(name)
            if failure is not None and failure.kind != "death":
                raise _FINAL[failure.kind](failure.message)
            how = failure.message if failure else _how(process.exitcode)
            self._deaths[name] = self._deaths.get(name, 0) + 1
            if self._deaths[name] > MAX_RESTARTS:
                raise InfrastructureError(
                    f"the rollout worker {name} died {self._deaths[name]} times in a row, last of: {how};"
                    " mend that and continue with --resume"
                )
            self._warn(f"the rollout worker {name} died ({how}); started again")
            self._spool.release(name)
            self.num_restarts += 1
            self._start(name)

    def has_finished(self, name: str) -> None:
        """Hear that a worker gave back a task."""
        self._deaths.pop(name, None)

    def close(self) -> None:
        """End all workers. Idempotent."""
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.join(_LEAVE_S)
            if process.exitcode is None:
                process.kill()
                process.join()
        self._processes = {}

    def _start(self, name: str) -> None:
        arguments = (self._spool.folder, name, self._config, self._run_folder)
        process = self._context.Process(target=local_main, args=arguments, name=f"rollout-{name}", daemon=True)
        process.start()
        self._processes[name] = process


def _how(exit_code: int) -> str:
    return f"signal {signal.Signals(-exit_code).name}" if exit_code < 0 else f"exit code {exit_code}"


@functools.cache
def _place_sockets() -> None:
    """Let the sockets of multiprocessing lie where they are found when this process has been killed."""
    scratch = Scratch("mp")
    util.Finalize(None, scratch.remove, exitpriority=-200)  # after multiprocessing has removed its own (-100)
    before, tempfile.tempdir = tempfile.tempdir, str(scratch.path)
    try:
        util.get_temp_dir()  # makes it, and keeps to it
    finally:
        tempfile.tempdir = before
