"""Runs a command under its limits and brings back what it said. Knows nothing of what the command means.

Safe from several threads at once. Whatever ends a command, its whole process group is ended by SIGKILL: a polite
signal would let a simulator run on and print.
"""

import os
import selectors
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from toolchain.command import Command, CommandResult, FolderJob, FolderResult, Limits
from toolchain.container_executor import ContainerExecutor, container_executor
from toolchain.errors import InfrastructureError, UsageError
from toolchain.sandbox import MINIMAL_ENVIRONMENT, choose_rung, wrap
from toolchain.sandbox_process import SandboxProcess
from toolchain.seccomp import filter_fd, has_filter

_CHUNK_BYTES = 1 << 16


class Executor(Protocol):
    """Anything that runs commands: this machine, a container, a cluster."""

    isolation: str  # the rung in force

    def run(self, command: Command) -> CommandResult:
        """Run to the end or to a limit. Raises InfrastructureError when the command cannot be started."""
        ...

    def run_job(self, job: FolderJob) -> FolderResult:
        """Run the steps of a job in a fresh folder, which is gone afterwards. Raises InfrastructureError as `run`."""
        ...


class LocalExecutor:
    """Runs commands on this machine. `read_only` are folders outside /usr that commands may read in the sandbox.

    Under bubblewrap the jobs of `run_job` share one sandbox that lives as long as the executor, one job at a time.
    `scratch` is where folders of jobs are made where there is no such sandbox.
    """

    def __init__(
        self, *, isolation: str = "auto", read_only: tuple[Path, ...] = (), scratch: Path | None = None
    ) -> None:
        if isolation == "container":
            raise UsageError("isolation container is for judging by Icarus; for this, use bubblewrap.")
        self.isolation = choose_rung(isolation)
        self._read_only = read_only
        self._scratch = scratch
        self._sandbox: SandboxProcess | None = None
        self._resident_problem = "" if self.isolation == "bubblewrap" else f"the rung is {self.isolation}"
        self._lock = threading.Lock()

    def run_job(self, job: FolderJob) -> FolderResult:
        with self._lock:
            sandbox = self._resident()
            if sandbox is not None:
                return sandbox.run(job)
        return run_in_folder(self.run, job, scratch=self._scratch)

    @property
    def resident_problem(self) -> str:
        """Why each command of a job has a sandbox of its own (as strong, some milliseconds slower); empty if none has.

        Known from the first job on.
        """
        return self._resident_problem

    def _resident(self) -> SandboxProcess | None:
        """The sandbox of `run_job`, started if need be. None where none can be had: that shows at the first start."""
        if self._resident_problem:
            return None
        if self._sandbox is None:
            try:
                self._sandbox = SandboxProcess(read_only=self._read_only)
            except InfrastructureError as error:
                self._resident_problem = str(error)
        elif not self._sandbox.is_alive:
            self._sandbox = SandboxProcess(read_only=self._read_only)
        return self._sandbox

    def close(self) -> None:
        """End the sandbox, if there is one; the next job starts another."""
        with self._lock:
            if self._sandbox is not None:
                self._sandbox.kill()

    def run(self, command: Command) -> CommandResult:
        started = time.monotonic()
        process = self._start(command)
        with process:
            drain = _drain(process, command.limits, deadline=started + command.limits.wall_s)
        return CommandResult(
            returncode=_signed(process.returncode),
            stdout=drain.stdout.decode(errors="replace"),
            stderr=drain.stderr.decode(errors="replace"),
            duration_s=time.monotonic() - started,
            is_timed_out=drain.is_timed_out,
            is_output_truncated=drain.is_truncated,
        )

    def _start(self, command: Command) -> subprocess.Popen:
        is_filtered = self.isolation == "bubblewrap" and has_filter()
        descriptor = filter_fd() if is_filtered else None
        argv = wrap(command, self.isolation, read_only=self._read_only, filter_fd=descriptor)
        try:
            return subprocess.Popen(
                argv,
                cwd=command.cwd,
                env=MINIMAL_ENVIRONMENT | command.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                pass_fds=() if descriptor is None else (descriptor,),
            )
        except OSError as error:
            raise InfrastructureError(f"could not start {argv[0]} in {command.cwd}: {error}") from error
        finally:
            if descriptor is not None:
                os.close(descriptor)


def open_executor(
    *, isolation: str = "auto", read_only: tuple[Path, ...] = (), scratch: Path | None = None
) -> LocalExecutor | ContainerExecutor:
    """The executor of a setting: "container", or what LocalExecutor takes. Raises as these two do."""
    if isolation == "container":
        return container_executor(read_only=read_only)
    return LocalExecutor(isolation=isolation, read_only=read_only, scratch=scratch)


def run_in_folder(
    run: Callable[[Command], CommandResult], job: FolderJob, *, scratch: Path | None = None
) -> FolderResult:
    """A job by an executor's `run`, one command after the other, in a temporary folder of this machine."""
    with tempfile.TemporaryDirectory(prefix="earl-job-", dir=scratch) as name:
        folder = Path(name)
        for file_name, text in job.files.items():
            path = folder / file_name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", errors="replace")
        results = []
        for step in job.steps:
            env = {"TMPDIR": name} | step.env  # what a killed tool leaves goes with the folder
            results.append(run(Command(argv=step.argv, cwd=folder, env=env, limits=step.limits)))
            if results[-1].returncode != 0 or results[-1].is_timed_out or results[-1].is_output_truncated:
                break
        return FolderResult(results=tuple(results), outputs=_read_back(folder, job.collects))


def _read_back(folder: Path, names: tuple[str, ...]) -> dict[str, str]:
    """The texts of the files that are there. The folder was the candidate's to write in: no link is followed."""
    paths = {name: folder / name for name in names}
    return {
        name: path.read_text(encoding="utf-8", errors="replace")
        for name, path in paths.items()
        if path.is_file() and not path.is_symlink()
    }


def _signed(returncode: int) -> int:
    """bubblewrap, and tools that work through a shell, report a signal n of their child as the exit code 128 + n."""
    return 128 - returncode if 128 < returncode < 128 + signal.NSIG else returncode


@dataclass(kw_only=True, slots=True)
class _Drain:
    """What was read so far."""

    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    is_timed_out: bool = False
    is_truncated: bool = False

    def take(self, sink: bytearray, chunk: bytes, output_bytes: int) -> None:
        room = output_bytes - len(self.stdout) - len(self.stderr)
        self.is_truncated = self.is_truncated or len(chunk) > room
        sink += chunk[: max(room, 0)]


def _drain(process: subprocess.Popen, limits: Limits, *, deadline: float) -> _Drain:
    """Read both pipes until the process ends or passes a limit, then end its group and read what is left."""
    drain = _Drain()
    process_fd = os.pidfd_open(process.pid)
    with selectors.DefaultSelector() as selector:
        try:
            selector.register(process_fd, selectors.EVENT_READ)
            selector.register(process.stdout, selectors.EVENT_READ, drain.stdout)
            selector.register(process.stderr, selectors.EVENT_READ, drain.stderr)
            is_running = True
            while is_running and not drain.is_timed_out and not drain.is_truncated:
                ready = selector.select(timeout=max(deadline - time.monotonic(), 0.0))
                drain.is_timed_out = not ready and time.monotonic() >= deadline
                for key, _ in ready:
                    if key.fd == process_fd:
                        is_running = False
                    else:
                        _read(selector, key, drain, limits.output_bytes)
        finally:
            # The leader is not reaped before this, so the group's number cannot belong to anyone else.
            os.killpg(process.pid, signal.SIGKILL)
            os.close(process_fd)
    for pipe, sink in ((process.stdout, drain.stdout), (process.stderr, drain.stderr)):
        os.set_blocking(pipe.fileno(), False)  # what has left the group may hold the pipe open: it is not waited for
        while chunk := pipe.read1(_CHUNK_BYTES):
            drain.take(sink, chunk, limits.output_bytes)
    return drain


def _read(selector: selectors.BaseSelector, key: selectors.SelectorKey, drain: _Drain, output_bytes: int) -> None:
    chunk = os.read(key.fd, _CHUNK_BYTES)
    if chunk:
        drain.take(key.data, chunk, output_bytes)
    else:
        selector.unregister(key.fileobj)
